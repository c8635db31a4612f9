"""How the three penguin species of the Palmer archipelago differ: a table, and a picture of bill against flipper."""

import csv
import statistics
from collections import defaultdict
from pathlib import Path

RESULTS = Path("results")
MEASURES = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
COLOURS = {"Adelie": "#ff8c00", "Chinstrap": "#a034f0", "Gentoo": "#057076"}
WIDTH, HEIGHT, MARGIN = 900, 600, 70


def read() -> dict[str, list[dict[str, float]]]:
    """The complete measurements of each penguin, by species."""
    penguins = defaultdict(list)
    with Path("penguins.csv").open(newline="") as table:
        for row in csv.DictReader(table):
            try:
                penguins[row["species"]].append({measure: float(row[measure]) for measure in MEASURES})
            except ValueError:
                continue  # two penguins were not measured
    return penguins


def summarise(penguins: dict[str, list[dict[str, float]]]) -> None:
    with (RESULTS / "summary.csv").open("w", newline="") as table:
        writer = csv.writer(table)
        writer.writerow(["species", "count", *(f"{name} {measure}" for measure in MEASURES for name in ("mean", "sd"))])
        for species, measured in sorted(penguins.items()):
            row: list[object] = [species, len(measured)]
            for measure in MEASURES:
                values = [penguin[measure] for penguin in measured]
                row += [round(statistics.mean(values), 1), round(statistics.stdev(values), 1)]
            writer.writerow(row)
            print(f"{species:10} {len(measured):4} penguins, {row[-2]:7.1f} g on average", flush=True)


def draw(penguins: dict[str, list[dict[str, float]]]) -> None:
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.truetype("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", 16)
    everything = [penguin for measured in penguins.values() for penguin in measured]
    left, right = (f(p["flipper_length_mm"] for p in everything) for f in (min, max))
    low, high = (f(p["bill_length_mm"] for p in everything) for f in (min, max))
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen = ImageDraw.Draw(picture)
    pen.line([(MARGIN, MARGIN), (MARGIN, HEIGHT - MARGIN), (WIDTH - MARGIN, HEIGHT - MARGIN)], fill="black", width=2)
    pen.text((WIDTH / 2 - 80, HEIGHT - 45), f"flipper, {left:.0f} to {right:.0f} mm", fill="black", font=font)
    pen.text((12, 30), f"bill, {low:.0f} to {high:.0f} mm", fill="black", font=font)
    for number, (species, measured) in enumerate(sorted(penguins.items())):
        for penguin in measured:
            x = MARGIN + (penguin["flipper_length_mm"] - left) / (right - left) * (WIDTH - 2 * MARGIN)
            y = HEIGHT - MARGIN - (penguin["bill_length_mm"] - low) / (high - low) * (HEIGHT - 2 * MARGIN)
            pen.ellipse([x - 4, y - 4, x + 4, y + 4], fill=COLOURS[species])
        pen.text((WIDTH - 170, 60 + 24 * number), species, fill=COLOURS[species], font=font)
    picture.save(RESULTS / "penguins.png")


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    penguins = read()
    print(f"read {sum(map(len, penguins.values()))} penguins of {len(penguins)} species", flush=True)
    summarise(penguins)
    draw(penguins)
    print("wrote results/summary.csv and results/penguins.png", flush=True)
