"""TLS: sound, unsound, and no TLS at all."""
import asyncio
import socket
import struct

from ..answers import answer, head
from ..kind import BROKEN, WEB, kind
from ..names import fixed

NO_TLS = ("tls", "connect", "bad_response")


def certificate(word, rows=4):
    @kind(f"tls/{word}", rows=rows, scheme="https")
    def make(row):
        WEB.certificates[row.host] = word
        row.page(answer(row.jpeg()))
        row.drop("tls")


for _word in ("expired", "not_yet", "wrong_name", "self_signed", "unknown_authority"):
    certificate(_word)


@kind("tls/good", scheme="https")
def good(row):
    row.page(answer(row.photo()))


@kind("tls/good_one_host", rows=12, one_host=True, scheme="https")
def good_one_host(row):
    row.page(answer(row.photo()))


@kind("tls/good_at_an_address", rows=2)
def good_at_an_address(row):
    row.page(answer(row.photo()), host="93.184.10.1")
    row.url = f"https://93.184.10.1{row.target}"


@kind("tls/wrong_address", rows=2)
def wrong_address(row):
    row.url = f"https://93.184.10.{row.number + 2}{row.target}"
    row.page(answer(row.jpeg()), host=f"93.184.10.{row.number + 2}")
    row.drop("tls")


@kind("tls/until_close", rows=4, scheme="https")
def until_close(row):
    row.page(head("Content-Type: image/jpeg") + row.photo())


@kind("tls/port_443", rows=3)
def port_443(row):
    row.page(answer(row.photo()))
    row.url = f"https://{row.host}:443{row.target}"


@kind("tls/https_on_port_80", rows=3)
def https_on_port_80(row):
    row.url = f"https://{row.host}:80{row.target}"
    row.drop(*NO_TLS, "timeout")


@kind("tls/http_on_port_443", rows=3)
def http_on_port_443(row):
    row.url = f"http://{row.host}:443{row.target}"
    row.drop(*BROKEN, "timeout")


@kind("tls/no_http2_settings_asked", rows=3, scheme="https")
def early_close(row):
    """A good certificate and then nothing."""
    row.page(b"")
    row.drop(*BROKEN)


def on_port_443(name, handler, classes, rows=3):
    number = len([k for k in WEB.connections if k[1] == 443]) + 1
    address = f"93.184.67.{number}"
    WEB.connections[address, 443] = handler

    @kind(f"tls/{name}", rows=rows, scheme="https")
    def make(row):
        WEB.names[row.host] = fixed(address)
        row.drop(*classes)


async def plain_http(reader, writer):
    await reader.read(4096)
    writer.write(answer(b"<html>400 plain HTTP</html>", status="400 Bad Request"))
    await writer.drain()


async def plain_photo(reader, writer):
    from .. import pictures
    await reader.read(4096)
    writer.write(answer(pictures.unique_jpeg("plain on 443")))
    await writer.drain()


async def garbage(reader, writer):
    await reader.read(4096)
    writer.write(bytes(range(256)) * 20)
    await writer.drain()


async def alert(reader, writer):
    await reader.read(4096)
    writer.write(b"\x15\x03\x03\0\x02\x02\x28")
    await writer.drain()


async def close(reader, writer):
    pass


async def close_after_hello(reader, writer):
    await reader.read(4096)


async def reset(reader, writer):
    await reader.read(4096)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def stall(reader, writer):
    await asyncio.sleep(300)


async def half_record_then_stall(reader, writer):
    await reader.read(4096)
    writer.write(b"\x16\x03\x03\x40\0" + bytes(100))
    await writer.drain()
    await asyncio.sleep(300)


async def drip_handshake(reader, writer):
    await reader.read(4096)
    writer.write(b"\x16\x03\x03\x40\0\x02\0\x3f\xfc")
    while True:
        writer.write(b"\0")
        await writer.drain()
        await asyncio.sleep(0.25)


async def flood_of_handshake(reader, writer):
    await reader.read(4096)
    while True:
        writer.write((b"\x16\x03\x03\x40\0" + bytes(16384)) * 4)
        await writer.drain()
        await asyncio.sleep(0.002)


async def flood_of_warnings(reader, writer):
    await reader.read(4096)
    while True:
        writer.write(b"\x15\x03\x03\0\x02\x01\x5a" * 2000)
        await writer.drain()
        await asyncio.sleep(0.002)


async def echo(reader, writer):
    while data := await reader.read(4096):
        writer.write(data)
        await writer.drain()


on_port_443("plain_http", plain_http, NO_TLS)
on_port_443("plain_photo", plain_photo, NO_TLS)
on_port_443("garbage", garbage, NO_TLS)
on_port_443("alert", alert, NO_TLS)
on_port_443("close_at_once", close, NO_TLS)
on_port_443("close_after_hello", close_after_hello, NO_TLS)
on_port_443("reset_after_hello", reset, NO_TLS)
on_port_443("stall", stall, (*NO_TLS, "timeout"))
on_port_443("half_record_then_stall", half_record_then_stall, (*NO_TLS, "timeout"))
on_port_443("drip_handshake", drip_handshake, (*NO_TLS, "timeout"))
on_port_443("flood_of_handshake", flood_of_handshake, (*NO_TLS, "timeout"))
on_port_443("flood_of_warnings", flood_of_warnings, (*NO_TLS, "timeout"))
on_port_443("echo", echo, (*NO_TLS, "timeout"))
