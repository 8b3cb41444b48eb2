"""The sample file, and the options that make CDNOW's calibration period of it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample" / "cdnow_sample.csv"
END = ["--observation-end", "1997-09-30", "--time-unit", "W"]
