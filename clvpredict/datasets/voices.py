"""What customers of the simulated shop write, by how content they are."""

from __future__ import annotations

#: English sentences by satisfaction, 1 (very unhappy) to 5 (delighted).
SENTENCES: dict[int, tuple[str, ...]] = {
    1: (
        "Terrible experience, the parcel arrived broken and nobody answered my emails.",
        "Awful service. I waited three weeks and then my order was cancelled.",
        "The worst shop I have ever used, rude support and a horrible website.",
        "Very disappointed, the quality is bad and the return was a nightmare.",
        "I am angry: the product was useless and the refund never came.",
        "Dreadful packaging, everything was damaged. I will not buy here again.",
    ),
    2: (
        "Delivery was slow and the box was damaged, not happy.",
        "The product is worse than the pictures, a poor choice for the price.",
        "Support was unhelpful and it took too long to get an answer.",
        "The size was wrong and the return was annoying.",
        "A bit disappointing, I expected better quality.",
        "Checkout was confusing and one item was missing from my order.",
    ),
    3: (
        "It arrived on Tuesday and does what it says.",
        "Average. Delivery took a week and the product is okay.",
        "Some things were fine and others were not.",
        "The order came in two parcels, both complete in the end.",
        "I have used it twice so far and have no opinion yet.",
        "Neither cheap nor expensive, about what I expected.",
    ),
    4: (
        "Good quality and a fair price, I am satisfied.",
        "Nice product, and delivery was quick.",
        "Support was friendly and the exchange was easy.",
        "Happy with my order, only the box was a little large.",
        "A good selection and a pleasant website.",
        "The second order was as good as the first one.",
    ),
    5: (
        "Excellent! Fast delivery and a beautiful product, I love it.",
        "Wonderful service, the best shop I know.",
        "Perfect quality and very friendly support, thank you.",
        "I am delighted, everything was great from checkout to delivery.",
        "Fantastic value and an amazing selection, I will order again.",
        "Superb. My whole family is happy with it.",
    ),
}
