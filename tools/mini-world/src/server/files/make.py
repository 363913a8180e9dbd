"""Writes the files beside this script, of formats that the server has no encoder for. Needs Pillow with AVIF.

Each shows another landscape without people, so that no two are copies of each other.
"""
import pathlib

from PIL import Image, ImageDraw

HERE = pathlib.Path(__file__).parent
SIZE = (160, 128)


def landscape(sky, ground, horizon, sun):
    picture = Image.new("RGB", SIZE, sky)
    draw = ImageDraw.Draw(picture)
    for row in range(horizon, SIZE[1]):
        shade = (row - horizon) / (SIZE[1] - horizon)
        draw.line([(0, row), (SIZE[0], row)], fill=tuple(int(c * (1 - shade / 2)) for c in ground))
    draw.polygon([(sun[0] - 60, horizon), (sun[0], horizon - 30), (sun[0] + 50, horizon)], fill=(90, 90, 110))
    draw.ellipse([sun[0] - 12, sun[1] - 12, sun[0] + 12, sun[1] + 12], fill=(250, 230, 120))
    return picture


day = landscape((140, 190, 240), (90, 150, 70), 70, (120, 25))
dusk = landscape((220, 130, 90), (70, 60, 60), 90, (40, 60))
night = landscape((20, 20, 50), (10, 40, 30), 40, (20, 14))
snow = landscape((200, 210, 220), (240, 240, 250), 50, (80, 30))
sea = landscape((120, 170, 200), (30, 80, 140), 100, (140, 80))

day.save(HERE / "landscape.avif", quality=60)
dusk.convert("CMYK").save(HERE / "cmyk.jpg", quality=80)
night.convert("1").save(HERE / "one-bit.png")
snow.quantize(16).save(HERE / "palette.png", transparency=3)
sea.save(HERE / "animated.webp", save_all=True, append_images=[day, night], quality=60)
