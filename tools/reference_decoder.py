"""A decoder written from docs/format.md and RFC 9649 alone, in plain numpy: slow, and simple to check.

    python tools/reference_decoder.py FILE.vae WEIGHTS_FOLDER [OUT.pam]

Prints the SHA-256 of the latent's symbols (little-endian int32, rows, columns, channels) and writes the
picture as a portable arbitrary map. It imports nothing from vaecodec, and has assertions where the
codec has error messages.
"""

# mypy: allow-untyped-defs, allow-untyped-calls
from __future__ import annotations

import hashlib
import json
import sys
import zlib
from bisect import bisect_right
from pathlib import Path

import numpy as np

# ---- section 1: container


def read_varint(data, at):
    value = 0
    for i in range(5):
        value |= (data[at + i] & 127) << (7 * i)
        if data[at + i] < 128:
            return value, at + i + 1
    raise AssertionError("varint too long")


def read_chunks(data):
    assert data[:8] == b"\x89VAE\r\n\x1a\x01"
    at = 8
    while at < len(data):
        length, start = read_varint(data, at + 1)
        end = start + length
        assert zlib.crc32(data[at:end]) == int.from_bytes(data[end : end + 4], "little")
        yield chr(data[at]), data[start:end]
        at = end + 4


def read_header(payload):
    width, at = read_varint(payload, 0)
    height, at = read_varint(payload, at)
    colour, depth = payload[at], payload[at + 1]
    assert depth == 8
    return width, height, colour, payload[at + 2 : at + 6], payload[at + 6]


def group_rectangles(height, width, side):
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield slice(top, min(top + side, height)), slice(left, min(left + side, width))


# ---- the weights file (section 6): safetensors


def read_weights(path):
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    types = {"F32": "<f4", "F16": "<f2", "I32": "<i4", "I8": "<i1"}
    entries = json.loads(data[8:start])
    config = json.loads(entries.pop("__metadata__")["config"])
    tensors = {}
    for name, entry in entries.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(data[begin:end], types[entry["dtype"]])
        tensors[name] = flat.reshape(entry["shape"])
    return config, tensors


def find_weights(folder, model_id):
    for path in sorted(Path(folder).glob("*.safetensors")):
        if hashlib.sha256(path.read_bytes()).digest()[:4] == model_id:
            return read_weights(path)
    raise AssertionError(f"no weights with id {model_id.hex()}")


# ---- section 4: entropy decoding


class Ans:
    def __init__(self, stream):
        assert len(stream) % 4 == 0
        self.words = np.frombuffer(stream, "<u4").tolist()
        assert not self.words or self.words[-1] != 0
        self.state = self.words.pop() if self.words else 0
        self.refill()  # once is enough: the last word is not 0

    def refill(self):
        if self.state < 1 << 32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def take(self, start, end):
        """Take the symbol whose frequency is `end - start`, those before it adding up to `start`."""
        self.state = (end - start) * (self.state >> 24) + (self.state & 0xFFFFFF) - start
        self.refill()

    def symbol(self, starts):
        """`starts`: for each symbol, the sum of the frequencies before it; then 2^24."""
        s = bisect_right(starts, self.state & 0xFFFFFF) - 1
        self.take(starts[s], starts[s + 1])
        return s

    def uniform(self, n):
        share = (1 << 24) // n
        s = min((self.state & 0xFFFFFF) // share, n - 1)
        self.take(share * s, share * (s + 1) if s < n - 1 else 1 << 24)
        return s


class Tables:
    def __init__(self, tensors):
        self.skip = int(tensors["entropy.skip"])
        self.supports = tensors["entropy.supports"].tolist()
        ends = np.cumsum(2 * tensors["entropy.supports"] + 2)
        tables = np.split(tensors["entropy.frequencies"], ends[:-1])
        self.starts = [[0, *np.cumsum(table).tolist()] for table in tables]
        self.bits = np.array([24 - np.log2(np.diff(starts).max()) for starts in self.starts])
        self.bits[: self.skip] = 0


# ---- section 3: a block of symbols


def read_block(ans, tables, indices):
    symbols = np.zeros(len(indices), np.int64)
    escapes = []
    for place in np.argsort(indices, kind="stable"):
        index = indices[place]
        if index < tables.skip:
            continue
        support = tables.supports[index]
        code = ans.symbol(tables.starts[index])
        if code == 2 * support + 1:
            escapes.append((place, support))
        else:
            symbols[place] = code - support
    lengths = [ans.uniform(22) + 1 for _ in escapes]
    for (place, support), b in zip(escapes, lengths, strict=True):
        tail = ans.uniform(1 << b)
        size = support + (1 << (b - 1)) + (tail >> 1)
        symbols[place] = -size if tail & 1 else size
    return symbols


# ---- section 5: scale indices


def d2s(x, f=2):
    h, w, c = x.shape
    x = x.reshape(h, w, f, f, c // f // f)
    return x.transpose(0, 2, 1, 3, 4).reshape(h * f, w * f, -1)


def depthwise(x, weight):
    h, w, _ = x.shape
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    return sum(padded[i : i + h, j : j + w] * weight[i, j] for i in range(3) for j in range(3))


def places(k, rows, columns, m):
    """Where step k codes, phase by phase."""
    for p in range(4):
        q = p ^ (0, 3, 1, 2)[k]
        yield slice(p // 2, rows, 2), slice(p % 2, columns, 2), slice(q * m // 4, (q + 1) * m // 4)


def magnitude(symbols):
    size = np.minimum(np.abs(symbols), 255) + np.float32(1)
    return (size.astype("<f4").view("<i4") >> 20) - 1016


def rounded(x, t, name, row=...):
    shift = t[name + ".shift"]
    return x + t[name + ".bias"][row] + (1 << shift - 1) >> shift


def base_indices(t, level, z):
    a = (t["gain.table"][level] * z + (1 << 15) >> 16).clip(-255, 255) @ t["map.weight"].T
    return (d2s(rounded(a, t, "map"), 4) + t["offset.table"][level]).clip(-2048, 2048)


def scale_indices(t, level, base, symbols, k):
    """Scale indices of step k. `symbols`: those of earlier steps, zero elsewhere."""
    if k == 0:
        return (base + 8 >> 4).clip(0, 63)
    u = rounded(magnitude(symbols) @ t["magnitude.weight"], t, "magnitude")
    u = np.split(u, 3, axis=2)[k - 1]
    f = depthwise(u.clip(-255, 255), t[f"depthwise{k}.weight"])
    f = rounded(f, t, f"depthwise{k}", level).clip(0, 255)
    shift = t[f"head{k}.shift"]
    return ((base + 8 << shift) + f @ t[f"head{k}.weight"].T >> shift + 4).clip(0, 63)


def decode_group(stream, tensors, tables, level, rows, columns):
    """Decode the symbols of one group: hyper-latent, h x w x Z, and latent, rows x columns x M."""
    ans = Ans(stream)
    t = {k[6:]: v.astype(np.int64) for k, v in tensors.items() if k.startswith("index.")}
    h, w = -(-rows // 4), -(-columns // 4)
    indices = np.tile(t["hyper.table"][level], h * w)
    assert len(stream) >= int(tables.bits[indices].sum() / 16), "a stream too short for its group"
    z = read_block(ans, tables, indices).reshape(h, w, -1)
    base = base_indices(t, level, z)[:rows, :columns]
    symbols = np.zeros_like(base)
    for k in range(4):
        index = scale_indices(t, level, base, symbols, k)
        parts = [index[place].reshape(-1) for place in places(k, *base.shape)]
        block = iter(read_block(ans, tables, np.concatenate(parts)))
        for place, part in zip(places(k, *base.shape), parts, strict=True):
            symbols[place].flat = [next(block) for _ in part]
    assert ans.state == 0 and not ans.words
    return z, symbols


# ---- section 6: the picture


class Layers:
    """The floating-point layers under a prefix, at a quality level."""

    def __init__(self, tensors, prefix, level):
        self.t = {k[len(prefix) :]: v.astype(float) for k, v in tensors.items() if k.startswith(prefix)}
        self.hat = (1 - np.abs(15 * level / 63 - np.arange(16))).clip(0)

    def vector(self, name):
        return self.hat @ self.t[name + ".knots"]

    def linear(self, name, x):
        return x @ self.t[name + ".weight"].T + self.t.get(name + ".bias", 0)

    def depthwise(self, name, x):
        return depthwise(x, self.t[name + ".weight"][:, 0].transpose(1, 2, 0)) + self.t[name + ".bias"]


def reconstruct(z, symbols, tensors, level, main):
    """Reconstruct the latent of a group, rows x columns x M. `main`: channels that are not details."""
    n = Layers(tensors, "means.", level)
    x = z * np.exp(n.vector("log_hyper_scale"))
    x = d2s((n.linear("up1", x) + n.vector("up1_bias")).clip(0))
    x = n.linear("mix1", n.depthwise("depthwise1", x)).clip(0)
    x = d2s(n.linear("up2", x).clip(0))
    x = n.linear("features", x + n.linear("mix2", n.depthwise("depthwise2", x)).clip(0))
    features = (x + n.vector("step_bias"))[: symbols.shape[0], : symbols.shape[1]]
    goal = symbols * np.exp(Layers(tensors, "transforms.", level).vector("log_latent_scale"))
    y, whiten = np.zeros_like(goal), n.t["whiten"]
    for k in range(4):
        x = np.split(features + n.linear("context", y[..., main] * whiten), 4, axis=2)[k].clip(0)
        x = x + n.linear("mix", n.depthwise("depthwise", x)).clip(0)
        found = goal.copy()
        found[..., main] = (goal[..., main] + n.linear("head", x) / whiten).clip(-(2**14), 2**14)
        for place in places(k, *y.shape):
            y[place] = found[place]
    return y


def trunk(s, name, x, coarse=None):
    first, *limits = s.t[name + ".limits"]
    x = x.clip(-first, first)
    for i, limit in enumerate(limits):
        block = f"{name}.blocks.{i}."
        u = s.depthwise(block + "depthwise", x)
        if coarse is None:
            u, v = np.split(s.linear(block + "gate", u), 2, axis=2)
            u = u / (1 + np.exp(-v))
        else:
            scale = s.linear(block + "modulation", coarse)
            u = s.linear(block + "expand", u) * scale.repeat(2, axis=0).repeat(2, axis=1)
        x = (x + s.vector(block + "gains") * s.linear(block + "mix", u)).clip(-limit, limit)
    return x


def synthesise(y, tensors, level, main):
    """Samples before limiting and rounding: 16 h x 16 w x 3."""
    s = Layers(tensors, "transforms.synthesis.", level)
    coarse = trunk(s, "coarse", s.linear("coarse_head", y[..., main]))
    x = s.linear("tail", trunk(s, "trunk", d2s(s.linear("head", y[..., main])), coarse))
    if len(main) < y.shape[2]:
        x = x + d2s(s.linear("shortcut", np.delete(y, main, axis=2)))
    return 255 * (d2s(x, 8) + 0.5)


# ---- VP8L (RFC 9649, section 3), for chunks L and A

CODE_LENGTH_ORDER = (17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
# Distance codes 1..120 are the neighbours above and to the left, from near to far.
NEIGHBOURS = sorted(
    ((x, y) for y in range(8) for x in range(-7, 9) if y or x > 0),
    key=lambda p: (p[0] ** 2 + p[1] ** 2, abs(p[0]), -p[0]),
)


def tiles(width, height, size):
    return -(-width // (1 << size)), -(-height // (1 << size))


class PrefixCode:
    def __init__(self, lengths):
        used = [(length, symbol) for symbol, length in enumerate(lengths) if length]
        self.only = used[0][1] if len(used) == 1 else None
        self.symbols, code, before = {}, 0, 0
        for length, symbol in sorted(used):
            code <<= length - before
            self.symbols[length, code] = symbol
            code, before = code + 1, length

    def read(self, bits):
        if self.only is not None:
            return self.only
        length, code = 0, 0
        while (length, code) not in self.symbols:
            length, code = length + 1, code << 1 | bits(1)
            assert length <= 15
        return self.symbols[length, code]


class Vp8l:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bits(self, n):
        start, self.at = self.at, self.at + n
        assert self.at <= 8 * len(self.data)
        part = int.from_bytes(self.data[start // 8 : (self.at + 7) // 8], "little")
        return part >> start % 8 & (1 << n) - 1

    def picture(self):
        """H x W x 4: red, green, blue, alpha."""
        assert self.bits(8) == 0x2F
        width, height, alpha = self.bits(14) + 1, self.bits(14) + 1, self.bits(1)
        assert self.bits(3) == 0
        transforms, packed = [], width
        while self.bits(1):
            kind = self.bits(2)
            if kind < 2:
                size = self.bits(3) + 2
                transforms.append((kind, packed, size, self.image(*tiles(packed, height, size))))
            elif kind == 2:
                transforms.append((kind, packed, 0, None))
            else:
                count = self.bits(8) + 1
                table = np.cumsum(self.image(count, 1)[0], axis=0) % 256
                shift = 3 if count <= 2 else 2 if count <= 4 else 1 if count <= 16 else 0
                transforms.append((kind, packed, shift, table))
                packed = -(-packed // (1 << shift))
        image = self.image(packed, height, main=True)
        for kind, columns, size, extra in reversed(transforms):
            inverse = (unpredict, uncolour, ungreen, unindex)[kind]
            image = inverse(image, columns, size, extra)
        if not alpha:
            image[:, :, 3] = 255
        return image.astype(np.uint8)

    def prefix_code(self, count):
        lengths = [0] * count
        if self.bits(1):
            symbols = self.bits(1) + 1
            lengths[self.bits(8 if self.bits(1) else 1)] = 1
            if symbols == 2:
                lengths[self.bits(8)] = 1
            return PrefixCode(lengths)
        outer = [0] * 19
        for place in CODE_LENGTH_ORDER[: self.bits(4) + 4]:
            outer[place] = self.bits(3)
        code, left = PrefixCode(outer), count
        if self.bits(1):
            left = self.bits(2 * self.bits(3) + 2) + 2
        at, previous = 0, 8
        while at < count and left:
            left -= 1
            length = code.read(self.bits)
            if length < 16:
                lengths[at] = length
                at, previous = at + 1, length or previous
                continue
            extra, least = {16: (2, 3), 17: (3, 3), 18: (7, 11)}[length]
            for _ in range(self.bits(extra) + least):
                lengths[at] = previous if length == 16 else 0
                at += 1
        return PrefixCode(lengths)

    def number(self, code):
        if code < 4:
            return code + 1
        extra = (code - 2) >> 1
        return ((2 + (code & 1)) << extra) + self.bits(extra) + 1

    def image(self, width, height, main=False):
        """H x W x 4 integers: red, green, blue, alpha."""
        cache_bits = self.bits(4) if self.bits(1) else 0
        cache = [0] * (1 << cache_bits)
        size, groups = 0, np.zeros((1, 1), int)
        if main and self.bits(1):
            size = self.bits(3) + 2
            choice = self.image(*tiles(width, height, size))
            groups = choice[:, :, 0] << 8 | choice[:, :, 1]
        counts = (280 + (len(cache) if cache_bits else 0), 256, 256, 256, 40)
        codes = [[self.prefix_code(n) for n in counts] for _ in range(int(groups.max()) + 1)]
        pixels: list[int] = []
        while len(pixels) < width * height:
            y, x = divmod(len(pixels), width)
            group = groups[y >> size, x >> size] if size else 0
            green, red, blue, alpha, distance = codes[group]
            symbol = green.read(self.bits)
            if symbol < 256:
                r, b, a = (code.read(self.bits) for code in (red, blue, alpha))
                new = [a << 24 | r << 16 | symbol << 8 | b]
            elif symbol < 280:
                length = self.number(symbol - 256)
                back = self.number(distance.read(self.bits))
                if back <= 120:
                    dx, dy = NEIGHBOURS[back - 1]
                    back = max(1, dx + dy * width)
                else:
                    back -= 120
                start = len(pixels) - back
                new = [pixels[start + i % back] for i in range(length)]
            else:
                new = [cache[symbol - 280]]
            pixels += new
            if cache_bits:
                for pixel in new:
                    cache[(0x1E35A7BD * pixel & 0xFFFFFFFF) >> (32 - cache_bits)] = pixel
        array = np.array(pixels, dtype=np.int64).reshape(height, width)
        return np.stack([array >> shift & 255 for shift in (16, 8, 0, 24)], axis=2)


def signed(x):
    return (x + 128) % 256 - 128


def ungreen(image, *_):
    return (image + image[:, :, 1:2] * (1, 0, 1, 0)) % 256


def uncolour(image, width, size, elements):
    height = len(image)
    e = np.repeat(np.repeat(elements, 1 << size, axis=0), 1 << size, axis=1)[:height, :width]
    e, green = signed(e), signed(image[:, :, 1])
    red = (image[:, :, 0] + (e[:, :, 2] * green >> 5)) % 256
    blue = image[:, :, 2] + (e[:, :, 1] * green >> 5) + (e[:, :, 0] * signed(red) >> 5)
    return np.stack((red, image[:, :, 1], blue % 256, image[:, :, 3]), axis=2)


def unindex(image, width, shift, table):
    depth = 8 >> shift
    x = np.arange(width)
    index = image[:, x >> shift, 1] >> depth * (x & (1 << shift) - 1) & (1 << depth) - 1
    return np.concatenate((table, np.zeros((256, 4), int)))[index]


def unpredict(image, width, size, modes):
    out = np.zeros_like(image)
    flat = out.reshape(-1, 4)
    for y in range(len(image)):
        for x in range(width):
            at = y * width + x
            if y == 0:
                guess = flat[at - 1] if x else np.array((0, 0, 0, 255))
            elif x == 0:
                guess = flat[at - width]
            else:
                # In the last column, `right` is what follows the row above: the first of this row.
                near = (flat[at - back] for back in (1, width, width - 1, width + 1))
                guess = predict(modes[y >> size, x >> size, 1] & 15, *near)
            flat[at] = (image[y, x] + guess) % 256
    return out


def mean(a, b):
    return (a + b) // 2


def predict(mode, left, top, right, corner):
    if mode == 11:
        nearer_left = np.abs(top - corner).sum() < np.abs(left - corner).sum()
        return left if nearer_left else top
    if mode == 12:
        return np.clip(left + top - corner, 0, 255)
    if mode == 13:
        middle = mean(left, top)
        return np.clip(middle + np.trunc((middle - corner) / 2).astype(int), 0, 255)
    black = np.array((0, 0, 0, 255))
    means = [mean(mean(left, right), top), mean(left, corner), mean(left, top), mean(corner, top)]
    means += [mean(top, right), mean(mean(left, corner), mean(top, right))]
    return [black, left, top, right, corner, *means][mode if mode < 11 else 0]


# ---- a whole file


def decode(data, folder):
    """Decode a file: picture (uint8, H x W x 1 to 4), symbols of the latent (None without a model)."""
    chunks = list(read_chunks(data))
    assert chunks[0][0] == "H"
    width, height, colour, model_id, level = read_header(chunks[0][1])
    assert all(kind.islower() or kind in "HGAL" for kind, _ in chunks)
    streams = {kind: [payload for k, payload in chunks if k == kind] for kind in "GAL"}
    symbols = None
    if model_id == bytes(4):
        rgba = Vp8l(streams["L"][0]).picture().astype(float)
        grey, alpha = rgba[:, :, 1], rgba[:, :, 3]
    else:
        config, tensors = find_weights(folder, model_id)
        tables = Tables(tensors)
        rows, columns = -(-height // 16), -(-width // 16)
        m, details = config["latent_channels"], config["detail_channels"]
        main = np.arange(m).reshape(4, -1)[:, : (m - details) // 4].reshape(-1)
        symbols = np.zeros((rows, columns, m), np.int64)
        latent = np.zeros(symbols.shape)
        alpha = np.full((height, width), 255)
        for i, place in enumerate(group_rectangles(rows, columns, 64)):
            size = latent[place].shape[:2]
            z, symbols[place] = decode_group(streams["G"][i], tensors, tables, level, *size)
            latent[place] = reconstruct(z, symbols[place], tensors, level, main)
        if colour >= 2:
            for i, place in enumerate(group_rectangles(height, width, 1024)):
                alpha[place] = Vp8l(streams["A"][i]).picture()[:, :, 1]
        rgba = synthesise(latent, tensors, level, main)[:height, :width]
        grey = rgba.mean(axis=2)
    planes = [grey] if colour % 2 == 0 else [rgba[:, :, c] for c in range(3)]
    samples = np.stack(planes + ([alpha] if colour >= 2 else []), axis=2)
    return np.rint(np.clip(samples, 0, 255)).astype(np.uint8), symbols


def main(file, folder, out=None):
    picture, symbols = decode(Path(file).read_bytes(), folder)
    if symbols is not None:
        print(hashlib.sha256(symbols.astype("<i4").tobytes()).hexdigest())
    if out is not None:
        height, width, depth = picture.shape
        kind = ("GRAYSCALE", "GRAYSCALE_ALPHA", "RGB", "RGB_ALPHA")[depth - 1]
        size = f"WIDTH {width}\nHEIGHT {height}\nDEPTH {depth}\nMAXVAL 255\n"
        head = f"P7\n{size}TUPLTYPE {kind}\nENDHDR\n"
        Path(out).write_bytes(head.encode() + picture.tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
