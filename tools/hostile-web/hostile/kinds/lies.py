"""Pictures whose structure lies. What Pillow decodes wholly is a photo, all else is corrupt."""
import functools
import io
import struct
import warnings
import zlib

from PIL import Image

from ..answers import answer
from ..kind import kind
from ..pictures import image, png, png_chunk, save

SIZE = (160, 120)
SEEDS = 2
NO_PHOTO = ("corrupt", "not_an_image", "too_large", "too_small")


def decodes(data):
    """Whether Pillow decodes the first picture of the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data)) as picture:
                picture.load()
        except Exception:  # noqa: BLE001 - its plugins raise whatever they like
            return False
    return True


# Rows are missing, which Pillow fills up for some formats: half a photo is none.
HALF = {"png_one_row_more", "png_pixels_end_early", "png_no_end", "png_chunk_length_4_gb", "jpeg_higher", "jpeg_wider", "jpeg_end_in_the_middle", "tiff_higher"}


def lie(name, taste=False):
    """`make(seed)` gives the file. `taste`: readers differ, and both ends are right."""
    def register(make):
        @kind(f"lies/{name}", rows=SEEDS)
        def row_of(row):
            data = make(row.number)
            row.page(answer(row.photo(data), kind="application/octet-stream"))
            if taste:
                row.drop(*NO_PHOTO)
            elif name in HALF or not decodes(data):
                row.truth.sha256 = None
                row.drop(*NO_PHOTO)
        return make
    return register


@functools.lru_cache(maxsize=None)
def base(form, seed, **options):
    return save(image(seed, SIZE), form, **options)


# PNG: chunks as a list of kind and data; a third entry is a checksum of its own.

def chunks_of(data):
    at, found = 8, []
    while at < len(data):
        length, = struct.unpack(">I", data[at:at + 4])
        found.append((data[at + 4:at + 8], data[at + 8:at + 8 + length]))
        at += 12 + length
    return found


def file_of(chunks):
    out = b"\x89PNG\r\n\x1a\n"
    for chunk in chunks:
        made = png_chunk(*chunk[:2])
        out += made if len(chunk) == 2 else made[:-4] + chunk[2]
    return out


def changed_png(name, change, mode="RGB", taste=False):
    @lie(f"png_{name}", taste)
    def make(seed):
        return file_of(change(chunks_of(save(image(seed, SIZE).convert(mode), "PNG"))))


def header(**fields):
    """Changes fields of the IHDR."""
    def change(chunks):
        names = ("width", "height", "depth", "color", "compression", "filter", "interlace")
        values = dict(zip(names, struct.unpack(">IIBBBBB", chunks[0][1])))
        values |= {k: v(values[k]) if callable(v) else v for k, v in fields.items()}
        return [(b"IHDR", struct.pack(">IIBBBBB", *(values[n] for n in names))), *chunks[1:]]
    return change


def each(wanted, make):
    """Replaces each chunk of a kind by the list that `make` gives for its data."""
    return lambda chunks: [new for chunk in chunks for new in (make(chunk[1]) if chunk[0] == wanted else [chunk])]


def pixels(change):
    """Changes the compressed rows as a whole."""
    def changed(chunks):
        first = next(i for i, c in enumerate(chunks) if c[0] == b"IDAT")
        data = b"".join(c[1] for c in chunks if c[0] == b"IDAT")
        rest = [c for c in chunks if c[0] != b"IDAT"]
        return [*rest[:first], *[(b"IDAT", d) for d in change(data)], *rest[first:]]
    return changed


def repacked(change):
    return pixels(lambda data: [zlib.compress(change(bytearray(zlib.decompress(data))))])


def row_filter(rows):
    rows[(SIZE[0] * 3 + 1) * 40] = 9
    return bytes(rows)


WRONG_SUM = b"\1\2\3\4"
changed_png("wrong_sum_of_head", each(b"IHDR", lambda d: [(b"IHDR", d, WRONG_SUM)]))
changed_png("wrong_sum_of_text", lambda c: [c[0], (b"tEXt", b"a\0b", WRONG_SUM), *c[1:]], taste=True)
changed_png("wrong_sum_of_end", each(b"IEND", lambda d: [(b"IEND", d, WRONG_SUM)]), taste=True)
changed_png("no_end", each(b"IEND", lambda d: []))
changed_png("end_with_data", each(b"IEND", lambda d: [(b"IEND", b"more")]), taste=True)
changed_png("depth_3", header(depth=3))
changed_png("color_5", header(color=5))
changed_png("compression_1", header(compression=1), taste=True)
changed_png("filter_method_1", header(filter=1), taste=True)
changed_png("interlace_2", header(interlace=2), taste=True)
changed_png("width_0", header(width=0))
changed_png("height_0", header(height=0))
changed_png("one_row_more", header(height=lambda h: h + 1))
changed_png("one_row_less", header(height=lambda h: h - 1))
changed_png("wider", header(width=lambda w: w * 2))
changed_png("width_with_sign", header(width=2**31 + 160), taste=True)
changed_png("no_palette", each(b"PLTE", lambda d: []), mode="P", taste=True)
changed_png("palette_of_one", each(b"PLTE", lambda d: [(b"PLTE", d[:3])]), mode="P", taste=True)
changed_png("palette_of_four_bytes", each(b"PLTE", lambda d: [(b"PLTE", d[:4])]), mode="P", taste=True)
changed_png("palette_twice", each(b"PLTE", lambda d: [(b"PLTE", d)] * 2), mode="P", taste=True)
changed_png("pixels_in_single_bytes", pixels(lambda d: [d[i:i + 1] for i in range(len(d))]))
changed_png("empty_pixels_between", pixels(lambda d: [d[:100], b"", b"", d[100:]]))
changed_png("text_between_pixels", lambda c: [n for chunk in c for n in ([(b"IDAT", chunk[1][:50]), (b"tEXt", b"a\0b"), (b"IDAT", chunk[1][50:])] if chunk[0] == b"IDAT" else [chunk])],
            taste=True)
changed_png("unknown_needed_chunk", lambda c: [c[0], (b"ABCD", b"x"), *c[1:]], taste=True)
changed_png("unknown_chunk", lambda c: [c[0], (b"abCd", b"x" * 5000), *c[1:]])
changed_png("no_pixels", each(b"IDAT", lambda d: []))
changed_png("two_heads", lambda c: [c[0], *c], taste=True)
changed_png("head_second", lambda c: [(b"tEXt", b"a\0b"), *c], taste=True)
changed_png("row_filter_9", repacked(row_filter))
changed_png("pixels_end_early", repacked(lambda rows: bytes(rows[:len(rows) // 2])))
changed_png("pixels_end_late", repacked(lambda rows: bytes(rows) * 3))
changed_png("zlib_head", pixels(lambda d: [b"\0\0" + d[2:]]))
changed_png("zlib_sum", pixels(lambda d: [d[:-4] + b"\0\0\0\0"]), taste=True)
changed_png("zlib_without_sum", pixels(lambda d: [d[:-4]]), taste=True)
changed_png("bytes_behind_zlib", pixels(lambda d: [d + b"garbage"]), taste=True)
changed_png("profile_broken", lambda c: [c[0], (b"iCCP", b"x\0\0not zlib"), *c[1:]], taste=True)


@lie("png_chunk_length_4_gb")
def png_chunk_length(seed):
    data = base("PNG", seed)
    return data.replace(data[33:37], b"\xff\xff\xff\xf0", 1)


@lie("png_line_ends_mangled")
def png_line_ends(seed):
    return base("PNG", seed).replace(b"\r\n", b"\n")


@lie("png_16_bit_palette")
def png_16_bit_palette(seed):
    return png(96, 80, depth=16, color=3, rows=bytes(97 * 80 * 2), extra=png_chunk(b"PLTE", bytes(768)))


# JPEG: segments as a list of bytes; the last one is the scan with what follows.

def segments_of(data):
    at, found = 2, []
    while data[at + 1] != 0xDA:
        length, = struct.unpack(">H", data[at + 2:at + 4])
        found.append(data[at:at + 2 + length])
        at += 2 + length
    return [*found, data[at:]]


def changed_jpeg(name, change, taste=False, **options):
    @lie(f"jpeg_{name}", taste)
    def make(seed):
        return b"\xff\xd8" + b"".join(change(segments_of(base("JPEG", seed, **options))))


def without(marker):
    return lambda segments: [s for s in segments if s[1] != marker]


def patched(marker, at, value):
    """Other bytes at a place of the segments with a marker."""
    return lambda segments: [s[:at] + value + s[at + len(value):] if s[1] == marker else s for s in segments]


changed_jpeg("no_quantization", without(0xDB))
changed_jpeg("no_huffman_tables", without(0xC4), taste=True)
changed_jpeg("no_frame", without(0xC0))
changed_jpeg("no_jfif", without(0xE0))
changed_jpeg("frame_twice", lambda s: [n for one in s for n in ([one, one] if one[1] == 0xC0 else [one])], taste=True)
changed_jpeg("components_0", patched(0xC0, 9, b"\0"))
changed_jpeg("components_2", patched(0xC0, 9, b"\2"), taste=True)
changed_jpeg("components_5", patched(0xC0, 9, b"\5"))
changed_jpeg("width_0", patched(0xC0, 7, b"\0\0"))
changed_jpeg("height_0", patched(0xC0, 5, b"\0\0"))
changed_jpeg("higher", patched(0xC0, 5, struct.pack(">H", 500)))
changed_jpeg("wider", patched(0xC0, 7, struct.pack(">H", 500)))
changed_jpeg("sampling_5", patched(0xC0, 11, b"\x55"))
changed_jpeg("sampling_0", patched(0xC0, 11, b"\0"))
changed_jpeg("quantization_9", patched(0xC0, 12, b"\x09"))
changed_jpeg("scan_of_unknown_component", patched(0xDA, 5, b"\x77"))
changed_jpeg("scan_of_no_component", patched(0xDA, 4, b"\0"))
changed_jpeg("table_too_long", patched(0xC4, 5, b"\xff" * 16))
changed_jpeg("fill_bytes", lambda s: [b"\xff" * 50 + one for one in s])
changed_jpeg("comments_of_10_mb", lambda s: [b"\xff\xfe\xff\xff" + b"c" * 65_533] * 160 + s)
changed_jpeg("exif_nonsense", lambda s: [b"\xff\xe1\x00\x40Exif\0\0" + b"\xff" * 56, *s])
changed_jpeg("exif_offset_far", lambda s: [b"\xff\xe1\x00\x20Exif\0\0II*\0\xff\xff\xff\x7f" + bytes(16), *s])
changed_jpeg("interval_without_marks", lambda s: [*s[:-1], b"\xff\xdd\0\4\0\2", s[-1]], taste=True)
changed_jpeg("marks_out_of_order", lambda s: [*s[:-1], s[-1].replace(b"\xff\xd0", b"\xff\xd5", 1)], taste=True, restart_marker_blocks=4)
changed_jpeg("length_beyond_end", lambda s: [s[0][:2] + b"\xff\xff" + s[0][4:], *s[1:]])
changed_jpeg("length_1", lambda s: [s[0][:2] + b"\0\1" + s[0][4:], *s[1:]], taste=True)
changed_jpeg("no_end", lambda s: [*s[:-1], s[-1][:-2]])
changed_jpeg("end_in_the_middle", lambda s: [*s[:-1], s[-1][:len(s[-1]) // 2] + b"\xff\xd9" + s[-1][len(s[-1]) // 2:]])
changed_jpeg("garbage_before_scan", lambda s: [*s[:-1], b"garbage" * 20, s[-1]], taste=True)


# GIF, BMP, WebP, TIFF, AVIF: bytes at places.

def changed(form, name, change, taste=False, **options):
    @lie(f"{form.lower()}_{name}", taste)
    def make(seed):
        return bytes(change(bytearray(base(form, seed, **options))))


def at(place, value):
    def change(data):
        data[place:place + len(value)] = value
        return data
    return change


def first_image(data):
    return data.index(b",", 13 + 3 * 2 ** ((data[10] & 7) + 1))


def in_image(offset, value):
    return lambda data: at(first_image(data) + offset, value)(data)


changed("GIF", "version_90", at(3, b"90a"))
changed("GIF", "canvas_0", at(6, bytes(4)), taste=True)
changed("GIF", "canvas_smaller", at(6, struct.pack("<HH", 80, 70)), taste=True)
changed("GIF", "canvas_larger", at(6, struct.pack("<HH", 300, 200)))
changed("GIF", "image_beyond_canvas", in_image(1, struct.pack("<HH", 100, 100)), taste=True)
changed("GIF", "image_of_no_width", in_image(5, b"\0\0"), taste=True)
changed("GIF", "image_higher", in_image(7, struct.pack("<H", 200)))
changed("GIF", "code_size_0", in_image(10, b"\0"), taste=True)
changed("GIF", "code_size_13", in_image(10, b"\x0d"))
changed("GIF", "codes_broken", lambda d: at(first_image(d) + 300, b"\xff" * 200)(d), taste=True)
changed("GIF", "no_trailer", lambda d: d[:-1], taste=True)
changed("GIF", "two_trailers", lambda d: d + b";;")
changed("GIF", "no_image", lambda d: d[:first_image(d)] + b";")

changed("BMP", "data_offset_0", at(10, bytes(4)), taste=True)
changed("BMP", "data_offset_far", at(10, struct.pack("<I", 2**31)))
changed("BMP", "head_of_12", at(14, struct.pack("<I", 12)))
changed("BMP", "head_of_1000", at(14, struct.pack("<I", 1000)))
changed("BMP", "planes_7", at(26, b"\7\0"), taste=True)
changed("BMP", "bits_0", at(28, b"\0\0"))
changed("BMP", "bits_64", at(28, b"\x40\0"))
changed("BMP", "compression_9", at(30, b"\x09"))
changed("BMP", "compression_jpeg", at(30, b"\x04"))
changed("BMP", "size_0_in_head", at(2, bytes(4)))
changed("BMP", "colours_4_billion", at(46, b"\xff" * 4), taste=True)
changed("BMP", "width_0", at(18, bytes(4)))
changed("BMP", "width_negative", at(18, struct.pack("<i", -160)))
changed("BMP", "upside_down", at(22, struct.pack("<i", -120)))

changed("WEBP", "riff_shorter", at(4, struct.pack("<I", 100)), taste=True)
changed("WEBP", "chunk_longer", at(16, b"\xff\xff\xff\x0f"))
changed("WEBP", "chunk_empty", at(16, bytes(4)))
changed("WEBP", "unknown_chunk", lambda d: d[:12] + b"ABCD" + struct.pack("<I", 8) + bytes(8) + d[12:])
changed("WEBP", "start_code", at(23, b"\0\0\0"))
changed("WEBP", "width_0", at(26, b"\0\0"))
changed("WEBP", "wider", at(26, struct.pack("<H", 320)))
changed("WEBP", "no_key_frame", lambda d: at(20, bytes([d[20] | 1]))(d))
changed("WEBP", "partition_longer", at(20, b"\xf0\xff\xff"))
changed("WEBP", "middle_zeroed", lambda d: at(len(d) // 2, bytes(100))(d), taste=True)


def extended(data, width, height, flags=0):
    """The file with a head of its own for the canvas."""
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBP" + chunk + bytes(data[12:])
    return b"RIFF" + struct.pack("<I", len(body)) + body


changed("WEBP", "canvas_of_another_size", lambda d: extended(d, 1000, 1000), taste=True)
changed("WEBP", "canvas_of_280_megapixels", lambda d: extended(d, 16_777_216, 16), taste=True)
changed("WEBP", "says_it_moves", lambda d: extended(d, *SIZE, flags=2), taste=True)
changed("WEBP", "says_it_has_alpha", lambda d: extended(d, *SIZE, flags=16))


def entry(tag, value, kind=None):
    """Another value of a directory's entry, its kind kept unless given."""
    def change(data):
        place, = struct.unpack("<I", data[4:8])
        count, = struct.unpack("<H", data[place:place + 2])
        for n in range(count):
            where = place + 2 + 12 * n
            if struct.unpack("<H", data[where:where + 2]) == (tag,):
                if kind:
                    data[where + 2:where + 4] = struct.pack("<H", kind)
                data[where + 8:where + 12] = struct.pack("<I", value)
                return data
        raise AssertionError(f"no tag {tag}")
    return change


changed("TIFF", "width_0", entry(256, 0))
changed("TIFF", "height_0", entry(257, 0))
changed("TIFF", "higher", entry(257, 1000))
changed("TIFF", "less_high", entry(257, 100), taste=True)
changed("TIFF", "compression_unknown", entry(259, 4711))
changed("TIFF", "says_jpeg", entry(259, 7))
changed("TIFF", "says_lzw", entry(259, 5), taste=True)
changed("TIFF", "says_palette", entry(262, 3), taste=True)
changed("TIFF", "samples_0", entry(277, 0))
changed("TIFF", "samples_200", entry(277, 200))
changed("TIFF", "planes_apart", entry(284, 2), taste=True)
changed("TIFF", "strips_far_away", entry(273, 2**31 - 1))
changed("TIFF", "strip_of_4_gb", entry(279, 2**32 - 1), taste=True)
changed("TIFF", "rows_per_strip_0", entry(278, 0), taste=True)
changed("TIFF", "rows_per_strip_huge", entry(278, 2**32 - 1, kind=4), taste=True)
changed("TIFF", "directory_far_away", at(4, b"\xff\xff\xff\x7f"))
changed("TIFF", "directory_in_head", at(4, b"\0\0\0\0"))
changed("TIFF", "entries_65535", lambda d: at(struct.unpack("<I", d[4:8])[0], b"\xff\xff")(d), taste=True)
changed("TIFF", "says_big_tiff", at(2, b"\x2b\0"))


def named(name, offset, value):
    """Bytes behind a box's name."""
    def change(data):
        assert name in data
        return at(data.index(name) + 4 + offset, value)(data)
    return change


changed("AVIF", "smaller_in_container", named(b"ispe", 4, struct.pack(">II", 80, 60)), taste=True, speed=10)
changed("AVIF", "larger_in_container", named(b"ispe", 4, struct.pack(">II", 320, 240)), taste=True, speed=10)
changed("AVIF", "size_0_in_container", named(b"ispe", 4, bytes(8)), speed=10)
changed("AVIF", "four_gigapixels_in_container", named(b"ispe", 4, struct.pack(">II", 65_535, 65_535)), speed=10)
changed("AVIF", "no_size_in_container", lambda d: d.replace(b"ispe", b"free"), taste=True, speed=10)
changed("AVIF", "primary_unknown", named(b"pitm", 4, b"\0\x09"), speed=10)
changed("AVIF", "item_of_other_kind", lambda d: d.replace(b"av01", b"hvc1"), taste=True, speed=10)
changed("AVIF", "no_place", lambda d: d.replace(b"iloc", b"free"), speed=10)
changed("AVIF", "no_meta", lambda d: d.replace(b"meta", b"free"), speed=10)
changed("AVIF", "brand_unknown", lambda d: d.replace(b"ftypavif", b"ftypabcd"), taste=True, speed=10)
changed("AVIF", "data_to_the_end", lambda d: at(d.index(b"mdat") - 4, bytes(4))(d), speed=10)
changed("AVIF", "data_zeroed", lambda d: d[:d.index(b"mdat") + 4] + bytes(len(d) - d.index(b"mdat") - 4), speed=10)
changed("AVIF", "box_of_no_size", named(b"ftyp", -8, b"\0\0\0\7"), speed=10)
