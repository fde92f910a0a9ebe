"""The scenes of the web page's sample pictures, for ``draw_samples.py``.

Nobody's photographs: each scene is drawn here from curves, gradients and noise, so that it may be given away
with the project. They show what the bundled model was taught to see, dogs and people outdoors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = (960, 720)  # that the scenes are laid out in
FINAL = (800, 600)
FINE = 2  # drawn twice as large, then reduced: smooth edges

Point = tuple[float, float]
Colour = tuple[int, int, int]


def curve(points: Sequence[Point], steps: int = 12) -> list[Point]:
    """A closed smooth line through the points (Catmull-Rom), in pixels of the fine picture."""
    p = np.array(points, dtype=float) * FINE
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    a, b, c, d = np.roll(p, 1, 0), p, np.roll(p, -1, 0), np.roll(p, -2, 0)
    pieces = [
        0.5 * (2 * q + (r - o) * t + (2 * o - 5 * q + 4 * r - s) * t**2 + (3 * q - o - 3 * r + s) * t**3)
        for o, q, r, s in zip(a, b, c, d, strict=True)
    ]
    return [(float(x), float(y)) for x, y in np.concatenate(pieces)]


def gradient(stops: Sequence[tuple[float, Colour]]) -> Image.Image:
    """A picture whose colour runs from top to bottom through the stops (height 0..1)."""
    width, height = SIZE[0] * FINE, SIZE[1] * FINE
    y = np.linspace(0, 1, height)
    at = [stop for stop, _ in stops]
    rows = np.stack([np.interp(y, at, [colour[k] for _, colour in stops]) for k in range(3)], axis=1)
    return Image.fromarray(np.repeat(rows[:, None, :], width, axis=1).astype(np.uint8))


class Scene:
    """A picture being drawn."""

    def __init__(self, stops: Sequence[tuple[float, Colour]], seed: int) -> None:
        self.image = gradient(stops)
        self.rng = np.random.default_rng(seed)

    def shape(self, points: Sequence[Point], colour: Colour, blur: float = 0, opacity: int = 255) -> None:
        """Fill a smooth shape, with soft edges if ``blur`` says so."""
        line = np.array(curve(points))
        margin = 3 * blur * FINE
        left, top = np.floor(line.min(axis=0) - margin).astype(int)
        right, bottom = np.ceil(line.max(axis=0) + margin).astype(int) + 1
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon([(x - left, y - top) for x, y in line], fill=opacity)
        if blur:
            mask = mask.filter(ImageFilter.GaussianBlur(blur * FINE))
        self.image.paste(colour, (left, top), mask)

    def spot(self, centre: Point, radius: Point, colour: Colour, blur: float = 0, opacity: int = 255) -> None:
        """Fill an ellipse."""
        turns = np.linspace(0, 2 * np.pi, 12, endpoint=False)
        x, y = centre
        points = [(x + radius[0] * np.cos(turn), y + radius[1] * np.sin(turn)) for turn in turns]
        self.shape(points, colour, blur, opacity)

    def limb(self, points: Sequence[Point], widths: Sequence[float], colour: Colour) -> None:
        """A tapering line: legs, arms, tails, boards."""
        draw = ImageDraw.Draw(self.image)
        at = np.linspace(0, len(points) - 1, 300)
        xs, ys, ws = (
            np.interp(at, range(len(points)), values) for values in (*zip(*points, strict=True), widths)
        )
        for x, y, w in zip(xs * FINE, ys * FINE, ws * FINE / 2, strict=True):
            draw.ellipse((x - w, y - w, x + w, y + w), fill=colour)

    def strokes(
        self, count: int, top: float, bottom: float, length: float, colours: Sequence[Colour]
    ) -> None:
        """Blades of grass, longer and sparser towards the viewer."""
        draw = ImageDraw.Draw(self.image)
        heights = np.sort(self.rng.uniform(top, bottom, count))
        for y in heights:
            near = (y - top) / (bottom - top)
            x = self.rng.uniform(0, SIZE[0])
            lean = self.rng.normal(0, 0.25) * length * near
            tall = length * (0.15 + near) * self.rng.uniform(0.5, 1)
            colour = colours[self.rng.integers(len(colours))]
            line = [x * FINE, y * FINE, (x + lean) * FINE, (y - tall) * FINE]
            draw.line(line, fill=colour, width=max(1, round(FINE * (0.6 + 1.8 * near))))

    def finish(self) -> Image.Image:
        """The picture at its final size, with a little grain, as film has."""
        small = self.image.resize(FINAL, Image.Resampling.LANCZOS)
        noisy = np.asarray(small, dtype=float) + self.rng.normal(0, 3, (*FINAL[::-1], 1))
        return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def dog() -> Image.Image:
    """A light brown dog that runs over a meadow."""
    sky = [(0, (150, 196, 226)), (0.36, (222, 236, 232)), (0.42, (120, 158, 84)), (1, (58, 104, 40))]
    scene = Scene(sky, seed=1)
    for x in range(-40, 1000, 52):
        tall = scene.rng.uniform(50, 120)
        green = (62 + int(tall / 4), 104 + int(tall / 5), 58)
        scene.spot((x, 292 - tall / 3), (58, tall), green, blur=7)
    grass = [(70, 122, 44), (88, 142, 52), (110, 160, 62), (52, 96, 36), (132, 172, 74)]
    scene.strokes(9000, 300, 760, 46, grass)
    scene.spot((470, 590), (250, 24), (28, 56, 20), blur=10, opacity=170)
    coat, shade, light = (206, 158, 100), (160, 112, 62), (232, 200, 150)
    scene.limb([(330, 430), (262, 478), (214, 548), (186, 566)], [62, 40, 20, 17], shade)
    scene.limb([(600, 440), (660, 500), (724, 520), (746, 540)], [52, 32, 19, 17], shade)
    scene.limb([(300, 390), (230, 352), (168, 290), (140, 268)], [26, 22, 16, 6], coat)
    body = [(292, 392), (350, 350), (450, 352), (560, 340), (640, 340), (662, 400), (640, 460), (560, 476)]
    scene.shape([*body, (470, 452), (390, 464), (320, 462), (286, 430)], coat)
    scene.shape([(330, 372), (450, 366), (590, 356), (600, 372), (450, 384), (350, 390)], light, 8, 170)
    scene.shape([(560, 462), (480, 448), (400, 460), (360, 462), (420, 430), (560, 440)], shade, 9, 170)
    scene.limb([(340, 430), (318, 500), (262, 560), (270, 596)], [74, 44, 21, 18], coat)
    scene.limb([(618, 430), (632, 510), (596, 560), (618, 592)], [60, 34, 20, 18], coat)
    scene.limb([(630, 390), (690, 330), (720, 300)], [96, 76, 66], coat)
    head = [(680, 262), (730, 236), (782, 256), (806, 288), (856, 304), (866, 328), (830, 346), (770, 344)]
    scene.shape([*head, (716, 340), (684, 310)], coat)
    scene.shape([(800, 322), (856, 330), (832, 345), (780, 344)], light, 3)
    scene.shape([(690, 250), (726, 244), (738, 284), (722, 346), (696, 352), (676, 300)], shade)
    scene.spot((776, 282), (7, 7), (24, 16, 10))
    scene.spot((774, 279), (2, 2), (240, 240, 240))
    scene.spot((860, 308), (11, 9), (26, 20, 18))
    scene.shape([(806, 344), (836, 342), (842, 372), (824, 384), (810, 366)], (214, 112, 116))
    scene.strokes(1500, 570, 790, 52, grass)
    return scene.finish()


def climber() -> Image.Image:
    """A person in a red jacket who climbs a snowy mountain."""
    scene = Scene([(0, (52, 104, 170)), (0.55, (176, 208, 232)), (1, (226, 236, 244))], seed=2)
    far = [(-60, 520), (120, 330), (220, 380), (380, 200), (480, 300), (640, 250), (820, 380), (1020, 300)]
    scene.shape([*far, (1040, 900), (-80, 900)], (146, 172, 204), blur=2)
    peak = [(300, 560), (420, 420), (520, 300), (610, 170), (660, 120), (720, 200), (800, 320), (900, 440)]
    scene.shape([*peak, (1060, 600), (1040, 900), (200, 900)], (232, 240, 248))
    scene.shape(
        [(660, 122), (700, 200), (690, 330), (740, 460), (860, 600), (1060, 700), *reversed(peak[5:])],
        (136, 164, 204),
        blur=3,
    )
    slope = [(-60, 640), (160, 596), (380, 540), (600, 560), (800, 640), (1040, 690), (1040, 860), (-60, 860)]
    scene.shape(slope, (246, 249, 253), blur=1)
    scene.shape(
        [(-60, 720), (260, 650), (520, 640), (820, 720), (1040, 760), (1040, 900), (-60, 900)],
        (218, 230, 244),
        blur=14,
    )
    for step in range(9):
        scene.spot((70 + 32 * step, 642 - 7 * step), (9, 4), (168, 190, 216), blur=1)
    trousers, jacket, dark = (34, 40, 54), (206, 44, 40), (150, 26, 28)
    scene.limb([(396, 470), (420, 520), (404, 574)], [36, 28, 20], trousers)
    scene.limb([(392, 470), (366, 524), (338, 580)], [38, 30, 20], trousers)
    scene.limb([(396, 574), (420, 578)], [20, 14], (20, 20, 24))
    scene.limb([(330, 582), (356, 586)], [20, 14], (20, 20, 24))
    scene.shape([(362, 384), (400, 366), (432, 392), (430, 450), (418, 488), (370, 488), (362, 440)], jacket)
    scene.shape([(340, 386), (368, 376), (372, 440), (366, 474), (338, 466), (330, 420)], (38, 92, 140))
    scene.limb([(410, 396), (446, 436), (478, 440)], [26, 22, 16], dark)
    scene.limb([(478, 420), (484, 580)], [4, 4], (60, 60, 64))
    scene.spot((412, 350), (25, 29), (206, 150, 116))
    scene.shape([(384, 350), (388, 322), (412, 314), (438, 326), (438, 342), (410, 340)], (236, 180, 40))
    return scene.finish()


def surfer() -> Image.Image:
    """A person who rides a wave on a white board."""
    sea = [(0, (168, 206, 226)), (0.2, (206, 226, 234)), (0.22, (36, 98, 132)), (1, (22, 112, 130))]
    scene = Scene(sea, seed=3)
    for _ in range(120):
        x, y = scene.rng.uniform(-60, 960), scene.rng.uniform(170, 330)
        scene.spot((x, y), (scene.rng.uniform(20, 90), 2.5), (74, 138, 164), blur=1.5, opacity=150)
    face = [(-80, 300), (120, 210), (360, 176), (600, 214), (800, 330), (1040, 430), (1040, 700), (-80, 760)]
    scene.shape(face, (20, 104, 128), blur=2)
    scene.shape(
        [(-80, 330), (140, 250), (380, 220), (600, 262), (780, 380), (500, 420), (100, 520)],
        (44, 152, 164),
        blur=26,
    )
    for _ in range(650):
        x = scene.rng.uniform(-40, 620)
        crest = 196 + abs(x - 360) ** 1.3 / 12
        y = crest + abs(scene.rng.normal(0, 22)) - 14
        size = scene.rng.uniform(3, 17)
        white = int(scene.rng.uniform(222, 255))
        scene.spot((x, y), (size * 1.4, size), (white, white, 255), blur=1.5, opacity=205)
    for _ in range(520):
        x, y = scene.rng.uniform(-40, 1000), 690 + scene.rng.normal(0, 34)
        size = scene.rng.uniform(4, 20)
        scene.spot((x, y), (size * 2, size * 0.7), (236, 246, 248), blur=2, opacity=150)
    board, suit, skin = (250, 248, 236), (22, 24, 30), (198, 140, 104)
    scene.shape([(428, 536), (500, 546), (580, 536), (668, 496), (610, 552), (520, 566), (452, 556)], board)
    for _ in range(160):
        x, y = 420 - abs(scene.rng.normal(0, 70)), 545 + scene.rng.normal(0, 18)
        size = scene.rng.uniform(2, 9)
        scene.spot((x, y), (size * 1.5, size), (244, 250, 252), blur=1, opacity=200)
    scene.limb([(530, 452), (498, 494), (506, 540)], [36, 27, 17], suit)
    scene.limb([(540, 452), (592, 484), (584, 530)], [36, 27, 17], suit)
    scene.limb([(536, 456), (552, 410), (572, 374)], [46, 50, 42], suit)
    scene.limb([(572, 378), (620, 392), (676, 380)], [21, 17, 12], suit)
    scene.limb([(560, 384), (510, 398), (466, 376)], [21, 17, 12], suit)
    scene.spot((680, 379), (8, 7), skin)
    scene.spot((462, 375), (8, 7), skin)
    scene.spot((586, 338), (20, 24), skin)
    scene.shape(
        [(564, 338), (568, 312), (590, 306), (608, 320), (600, 326), (584, 326), (576, 344)], (70, 44, 24)
    )
    return scene.finish()


def beach() -> Image.Image:
    """Two people who stand at the sea while the sun goes down."""
    evening = [(0, (66, 52, 104)), (0.3, (196, 92, 96)), (0.52, (250, 176, 96)), (0.57, (255, 214, 140))]
    scene = Scene([*evening, (0.575, (150, 96, 96)), (0.8, (84, 62, 88)), (1, (46, 36, 52))], seed=4)
    scene.spot((560, 400), (170, 170), (255, 208, 120), blur=60, opacity=200)
    scene.spot((560, 396), (52, 52), (255, 240, 196), blur=2)
    scene.image.paste(Image.new("RGB", (SIZE[0] * FINE, 1), (150, 96, 96)), (0, 414 * FINE))
    for _ in range(420):
        y = 416 + abs(scene.rng.normal(0, 90))
        near = (y - 416) / 200
        x = 560 + scene.rng.normal(0, 26 + 70 * near)
        scene.spot((x, y), (6 + 26 * near, 1.4 + near), (255, 206, 132), blur=1, opacity=190)
    for _ in range(60):
        x, y = scene.rng.uniform(-50, 1000), scene.rng.uniform(30, 250)
        scene.spot((x, y), (scene.rng.uniform(60, 170), 5), (255, 168, 122), blur=7, opacity=80)
    scene.shape(
        [(-60, 640), (200, 616), (480, 626), (760, 604), (1040, 616), (1040, 900), (-60, 900)],
        (58, 42, 50),
        blur=3,
    )
    scene.shape(
        [(-60, 634), (200, 610), (480, 620), (760, 598), (1040, 610), (760, 606), (480, 628), (200, 618)],
        (240, 190, 160),
        blur=2,
        opacity=190,
    )
    ink = (22, 16, 26)
    foot = 664
    for x, tall in ((330, 1.0), (408, 0.9)):
        hip, waist, chest, neck, chin, face = (foot - tall * up for up in (112, 170, 226, 232, 258, 272))
        scene.limb([(x - 9, hip), (x - 14, foot - 60), (x - 16, foot)], [30, 21, 14], ink)
        scene.limb([(x + 10, hip), (x + 14, foot - 60), (x + 18, foot)], [30, 21, 14], ink)
        scene.limb([(x, hip), (x, waist), (x, chest)], [52, 42, 46], ink)
        scene.limb([(x - 20, chest), (x, neck), (x + 20, chest)], [22, 30, 22], ink)
        scene.limb([(x, chest), (x, chin)], [20, 18], ink)
        scene.spot((x, face), (21, 26 * tall), ink)
    scene.limb([(352, 446), (366, 500), (371, 540)], [16, 13, 11], ink)
    scene.limb([(388, 466), (376, 510), (371, 540)], [15, 13, 11], ink)
    scene.limb([(308, 446), (296, 500), (300, 556)], [16, 13, 11], ink)
    scene.limb([(430, 468), (442, 512), (438, 560)], [15, 13, 11], ink)
    return scene.finish()
