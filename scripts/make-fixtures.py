"""Makes test/fixtures/*.safetensors: what the operators must compute, by an independent implementation.

Run with any Python that has torch, numpy and mpmath: /usr/bin/python3 scripts/make-fixtures.py

Inputs are drawn as float32, everything is computed from exactly these values in float64 by the definitions
(patches by unfold, angles by arccos, the sigmoid as the paper prints it), differentiated by autograd and rounded
to float32 at the end. Layouts are the library's: images NHWC, filters O x kH x kW x I/groups, labels int32.
Every case draws from a generator seeded with its own name, so cases do not move when others are added.
"""

import json
import math
import struct
import zlib
from pathlib import Path

import mpmath
import numpy as np
import torch
import torch.nn.functional as F

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
DTYPES = {"float32": "F32", "float64": "F64", "int32": "I32"}
MAX_GUARD = {"normGuard": "max", "eps": 1e-6}
ADD_GUARD = {"normGuard": "add", "eps": 1e-4}

torch.set_num_threads(1)


# ---------------------------------------------------------------------------------------------------- files


def stored(value):
    """Results (torch, float64) are rounded to float32; inputs (numpy) are stored as they are."""
    array = value.detach().numpy().astype(np.float32) if isinstance(value, torch.Tensor) else value
    assert np.isfinite(array).all()
    return np.ascontiguousarray(array)


def write_safetensors(path, cases):
    """cases: name -> (params, tensors). Length of the header, JSON header padded to 8 bytes, raw data."""
    header = {"__metadata__": {name: json.dumps(params) for name, (params, _) in cases.items()}}
    chunks, offset = [], 0
    for name, (_, tensors) in cases.items():
        for tensor, value in tensors.items():
            array = stored(value)
            end = offset + array.nbytes
            entry = {"dtype": DTYPES[array.dtype.name], "shape": list(array.shape), "data_offsets": [offset, end]}
            header[f"{name}/{tensor}"] = entry
            chunks.append(array.tobytes())
            offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


# -------------------------------------------------------------------------------------------------- helpers


def generator(family, case):
    """A random generator that depends on the names alone."""
    return np.random.default_rng(zlib.crc32(f"{family}/{case}".encode()))


def normal(rng, *shape):
    """float32 from N(0, 1)."""
    return rng.standard_normal(shape, dtype=np.float32)


def uniform(rng, low, high, *shape):
    """float32 from [low, high)."""
    return rng.uniform(low, high, shape).astype(np.float32)


def leaf(array):
    """A float64 variable holding exactly the stored float32 values."""
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def gradients(output, upstream, leaves):
    """{"x": x, ...} -> {"dx": dL/dx, ...} where dL/d(output) = upstream, by autograd."""
    upstream = torch.as_tensor(upstream, dtype=torch.float64)
    found = torch.autograd.grad(output, list(leaves.values()), upstream)
    return {f"d{name}": gradient for name, gradient in zip(leaves, found)}


def nchw(x):
    """PyTorch's layout from ours; filters O,kH,kW,I become O,I,kH,kW by the same permutation."""
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    """Our layout from PyTorch's."""
    return x.permute(0, 2, 3, 1)


def pair(value):
    """[vertical, horizontal] from one number or a tuple of two."""
    return list(value) if isinstance(value, tuple) else [value, value]


def geometry_params(geometry):
    """stride, padding, dilation as [vertical, horizontal], and groups."""
    defaults = {"stride": 1, "padding": 0, "dilation": 1}
    params = {key: pair(geometry.get(key, default)) for key, default in defaults.items()}
    return {**params, "groups": geometry.get("groups", 1)}


def operator_params(operator):
    """A number as operator is the sigmoid with that fixed k."""
    return {"operator": operator} if isinstance(operator, str) else {"operator": "sigmoid", "k": operator}


def at_angle(rng, direction, theta):
    """A unit vector at the angle theta to the given one, in a random direction around it."""
    unit = direction / np.linalg.norm(direction)
    other = rng.standard_normal(unit.shape)
    other -= (other @ unit) * unit
    return math.cos(theta) * unit + math.sin(theta) * other / np.linalg.norm(other)


def g(operator, theta, k=None):
    """Paper eq. 2-4. Sigmoid: (1+e^(-pi/2k)) / (1-e^(-pi/2k)) * (1-e^u) / (1+e^u), u = theta/k - pi/2k."""
    if operator == "linear":
        return 1 - 2 * theta / math.pi
    if operator == "cosine":
        return torch.cos(theta)
    k = torch.as_tensor(k, dtype=torch.float64)
    limit = torch.exp(-math.pi / (2 * k))
    u = torch.exp((theta - math.pi / 2) / k)
    return (1 + limit) / (1 - limit) * (1 - u) / (1 + u)


# ------------------------------------------------------------------------------------------- sphere_conv2d


def patches(x, kernel, geometry):
    """[B,H,W,C] -> [B,OH,OW,groups,C/groups*kH*kW], zero padding included."""
    images = nchw(x)
    groups = geometry["groups"]
    options = {key: tuple(geometry[key]) for key in ("stride", "padding", "dilation")}
    columns = F.unfold(images, kernel, **options)
    sizes = [
        (images.shape[2 + i] + 2 * options["padding"][i] - options["dilation"][i] * (kernel[i] - 1) - 1)
        // options["stride"][i]
        + 1
        for i in range(2)
    ]
    return columns.reshape(x.shape[0], groups, -1, *sizes).permute(0, 3, 4, 1, 2)


def sphere_cosine(x, w, params):
    """s = w.p / (|w||p|), guarded, [B,OH,OW,O]; and whether neither patch nor filter is zero."""
    groups = params["groups"]
    p = patches(x, tuple(w.shape[1:3]), params)
    rows = nchw(w).reshape(groups, w.shape[0] // groups, -1)
    dot = torch.einsum("bhwgi,goi->bhwgo", p, rows)
    patch_square = (p * p).sum(-1, keepdim=True)
    filter_square = (rows * rows).sum(-1)
    plain = conv2d(x, w, None, params)
    assert torch.allclose(dot.flatten(-2), plain, rtol=1e-10, atol=1e-10)
    if params["normGuard"] == "add":
        norms = torch.sqrt(patch_square + params["eps"]) * torch.sqrt(filter_square + params["eps"])
        nonzero = torch.ones_like(dot, dtype=torch.bool)
    else:
        floor = torch.tensor(params["eps"] ** 2, dtype=torch.float64)
        norms = torch.sqrt(torch.maximum(patch_square, floor)) * torch.sqrt(torch.maximum(filter_square, floor))
        nonzero = (patch_square > 0) & (filter_square > 0)
    s = torch.where(nonzero, dot / norms, torch.zeros_like(dot))
    return s.flatten(-2), nonzero.flatten(-2)


def sphere_conv2d(x, w, k, bias, params):
    """y = g(arccos s) + bias; exactly the bias, without gradient, where patch or filter is zero."""
    s, nonzero = sphere_cosine(x, w, params)
    value = g(params["operator"], torch.acos(s), k)
    y = torch.where(nonzero, value, torch.zeros_like(value))
    assert y.abs().max() <= 1
    return y if bias is None else y + bias


def away_from_poles(rng, x, w, params, limit=0.95):
    """Redraws pixels, and filters where that does not help, until all |s| < limit. Zeros stay zeros."""
    for attempt in range(200):
        pixels = leaf(x)
        s, _ = sphere_cosine(pixels, leaf(w), params)
        wrong = s.abs() >= limit
        if not wrong.any():
            return x, w
        if attempt % 10 == 9:
            filters = wrong.flatten(0, 2).any(0).numpy()
            w[filters] = np.where(w[filters] == 0, w[filters], normal(rng, *w[filters].shape))
        else:
            # The pixels that a wrong patch covers are those on which the sum over these patches depends.
            in_group = wrong.unflatten(-1, (params["groups"], -1)).any(-1)[..., None]
            covered = (patches(pixels, w.shape[1:3], params) * in_group).sum()
            (cover,) = torch.autograd.grad(covered, pixels)
            x = np.where((cover.numpy() > 0) & (x != 0), normal(rng, *x.shape), x)
    raise RuntimeError("cannot keep the angles away from the poles")


def sphere_case(rng, x, w, params, learnable, bias):
    """Forward and backward of one case; scale invariance is checked where the guard has it."""
    outputs = w.shape[0]
    leaves = {"x": leaf(x), "w": leaf(w)}
    inputs = {"x": x, "w": w}
    if learnable:
        inputs["k"] = uniform(rng, 0.2, 0.9, outputs if learnable == "filter" else 1)
        leaves["k"] = leaf(inputs["k"])
    if bias:
        inputs["bias"] = normal(rng, outputs)
        leaves["bias"] = leaf(inputs["bias"])
    k = leaves.get("k", params.get("k"))
    y = sphere_conv2d(leaves["x"], leaves["w"], k, leaves.get("bias"), params)
    inputs["dy"] = normal(rng, *y.shape)
    found = gradients(y, inputs["dy"], leaves)
    if params["normGuard"] == "max":
        along = (leaves["w"] * found["dw"]).flatten(1).sum(1).abs()
        scale = leaves["w"].flatten(1).norm(dim=1) * found["dw"].flatten(1).norm(dim=1)
        assert (along <= 1e-10 * scale).all()
    return params, {**inputs, "y": y, **found}


def sphere_conv2d_cases():
    """name: operator, (B,H,W,C), (O,kH,kW), geometry, further options."""
    table = {
        "linear-3x3": ("linear", (2, 7, 7, 3), (8, 3, 3), {"padding": 1}, {"bias": True}),
        "cosine-3x3": ("cosine", (2, 6, 5, 5), (7, 3, 3), {"padding": 1}, {}),
        "sigmoid0.1-3x3": (0.1, (2, 6, 6, 3), (4, 3, 3), {}, {"bias": True}),
        "sigmoid0.3-3x3-wide": (0.3, (1, 4, 4, 64), (33, 3, 3), {"padding": 1}, {}),
        "sigmoid0.7-5x5-stride2": (0.7, (2, 9, 8, 5), (4, 5, 5), {"padding": 2, "stride": 2}, {"bias": True}),
        "linear-1x1": ("linear", (3, 5, 4, 17), (8, 1, 1), {}, {}),
        "cosine-1x1-stride2-pad1": ("cosine", (2, 6, 5, 5), (4, 1, 1), {"padding": 1, "stride": 2}, {"bias": True}),
        "sigmoid0.3-1x1-groups4": (0.3, (1, 4, 4, 64), (8, 1, 1), {"groups": 4}, {}),
        "linear-2x3-stride1x2-pad0x1": (
            "linear", (2, 5, 7, 5), (7, 2, 3), {"padding": (0, 1), "stride": (1, 2)}, {"bias": True},
        ),
        "cosine-2x3-dilation2": ("cosine", (2, 6, 7, 3), (4, 2, 3), {"padding": 1, "dilation": 2}, {}),
        "sigmoid0.1-2x3-stride1x2-groups2": (0.1, (3, 5, 6, 6), (4, 2, 3), {"stride": (1, 2), "groups": 2}, {}),
        "linear-one-channel-one-filter": ("linear", (1, 7, 6, 1), (1, 3, 3), {"padding": 1}, {}),
        "cosine-one-channel-5x5-stride3": ("cosine", (2, 11, 10, 1), (7, 5, 5), {"padding": 2, "stride": 3}, {}),
        "sigmoid0.7-one-channel-stride2-pad2": (
            0.7, (3, 7, 7, 1), (33, 3, 3), {"padding": 2, "stride": 2}, {"bias": True},
        ),
        "linear-3x3-dilation2": ("linear", (1, 8, 7, 17), (4, 3, 3), {"padding": 2, "dilation": 2}, {"bias": True}),
        "cosine-3x3-dilation1x2-pad0x1": (
            "cosine", (2, 6, 8, 3), (8, 3, 3), {"padding": (0, 1), "dilation": (1, 2)}, {},
        ),
        "linear-3x3-groups2-stride2": (
            "linear", (2, 5, 5, 64), (8, 3, 3), {"padding": 1, "stride": 2, "groups": 2}, {},
        ),
        "cosine-depthwise": ("cosine", (2, 6, 6, 4), (4, 3, 3), {"padding": 1, "groups": 4}, {"bias": True}),
        "sigmoid0.3-5x5-groups4-stride2": (
            0.3, (1, 8, 8, 12), (8, 5, 5), {"padding": 2, "stride": 2, "groups": 4}, {"bias": True},
        ),
        "cosine-3x3-stride3": ("cosine", (2, 8, 8, 17), (4, 3, 3), {"padding": 1, "stride": 3}, {"bias": True}),
        "linear-whole-input": ("linear", (3, 5, 5, 17), (8, 5, 5), {}, {}),
        "learnable-filter-3x3": ("sigmoid", (2, 6, 6, 5), (7, 3, 3), {"padding": 1}, {"bias": True, "k": "filter"}),
        "learnable-layer-3x3-stride2": ("sigmoid", (2, 7, 7, 3), (4, 3, 3), {"stride": 2}, {"k": "layer"}),
        "learnable-filter-groups2-dilation2": (
            "sigmoid", (1, 6, 7, 6), (8, 2, 3), {"dilation": 2, "groups": 2}, {"bias": True, "k": "filter"},
        ),
        "learnable-layer-1x1": ("sigmoid", (3, 4, 3, 17), (33, 1, 1), {}, {"k": "layer"}),
        "linear-zero-patches": ("linear", (2, 8, 8, 3), (4, 3, 3), {"padding": 1}, {"zero": "region"}),
        "cosine-zero-patches": (
            "cosine", (1, 8, 8, 5), (7, 3, 3), {"padding": 1}, {"bias": True, "zero": "region", "zeroFilter": 0},
        ),
        "sigmoid0.3-zero-patches": (
            0.3, (1, 9, 8, 3), (8, 3, 3), {"padding": 2}, {"bias": True, "zero": "region", "zeroFilter": 3},
        ),
        "learnable-zero-patches": (
            "sigmoid", (2, 8, 8, 3), (4, 3, 3), {"padding": 1},
            {"bias": True, "k": "filter", "zero": "region", "zeroFilter": 3},
        ),
        "linear-zero-group": ("linear", (2, 5, 5, 6), (4, 3, 3), {"padding": 1, "groups": 2}, {"zero": "group"}),
        "official-linear": ("linear", (2, 6, 6, 5), (4, 3, 3), {"padding": 1}, {"official": True}),
        "official-learnable-stride2": (
            "sigmoid", (2, 7, 6, 3), (7, 3, 3), {"padding": 1, "stride": 2}, {"official": True, "k": "filter"},
        ),
    }
    cases = {}
    for name, (operator, image, kernel, geometry, options) in table.items():
        rng = generator("sphere_conv2d", name)
        params = sphere_params(operator, geometry, ADD_GUARD if options.get("official") else MAX_GUARD)
        x = normal(rng, *image)
        w = normal(rng, *kernel, image[3] // params["groups"])
        if options.get("official"):  # small enough for the added eps to matter
            x, w = x * np.float32(0.02), w * np.float32(0.02)
        if options.get("zero") == "region":
            x[:, 1:6, 1:6] = 0
        if options.get("zero") == "group":
            x[1, :, :, : image[3] // params["groups"]] = 0
        if "zeroFilter" in options:
            w[options["zeroFilter"]] = 0
        if not options.get("official"):
            x, w = away_from_poles(rng, x, w, params)
        cases[name] = sphere_case(rng, x, w, params, options.get("k"), options.get("bias"))
    return {**cases, **near_pole_cases()}


def sphere_params(operator, geometry, guard):
    """The metadata of a case."""
    return {**operator_params(operator), **geometry_params(geometry), **guard}


def near_pole_cases():
    """Patches side by side, each at s = +-(1 - 1e-3) or at 0.05 from a pole of the first filter."""
    small = math.acos(1 - 1e-3)
    angles = [small, math.pi - small, 0.05, math.pi - 0.05]
    cases = {}
    table = {
        "near-pole-linear": ("linear", 3, None),
        "near-pole-cosine": ("cosine", 3, None),
        "near-pole-sigmoid0.1": (0.1, 3, None),
        "near-pole-sigmoid0.3": (0.3, 1, None),
        "near-pole-sigmoid0.7": (0.7, 1, None),
        "near-pole-learnable": ("sigmoid", 1, "filter"),
    }
    for name, (operator, kernel, learnable) in table.items():
        rng = generator("sphere_conv2d", name)
        params = sphere_params(operator, {"stride": kernel}, MAX_GUARD)
        channels = 5 if kernel == 3 else 17
        w = normal(rng, 3, kernel, kernel, channels)
        x = np.zeros((1, 2 * kernel, 4 * kernel, channels), np.float32)
        for tile in range(8):
            length = rng.uniform(0.3, 3)
            patch = length * at_angle(rng, w[0].astype(np.float64).ravel(), angles[tile % 4])
            top, left = kernel * (tile // 4), kernel * (tile % 4)
            x[0, top : top + kernel, left : left + kernel] = patch.reshape(kernel, kernel, channels)
        s, _ = sphere_cosine(leaf(x), leaf(w), params)
        assert np.allclose(np.arccos(s[0, 0, :, 0].detach().numpy()), angles, atol=1e-5)
        assert s[..., 1:].abs().max() < 0.95
        cases[name] = sphere_case(rng, x, w, params, learnable, False)
    return cases


# --------------------------------------------------------------------------------------- conv2d and pooling


def conv2d(x, w, bias, params):
    """y = conv(x, w) + bias, NHWC."""
    options = {key: tuple(params[key]) for key in ("stride", "padding", "dilation")}
    return nhwc(F.conv2d(nchw(x), nchw(w), bias, groups=params["groups"], **options))


def conv2d_cases():
    """name: (B,H,W,C), (O,kH,kW), geometry, bias."""
    table = {
        "3x3": ((2, 7, 7, 3), (8, 3, 3), {"padding": 1}, True),
        "3x3-wide": ((1, 4, 4, 64), (33, 3, 3), {"padding": 1}, False),
        "1x1": ((3, 5, 4, 17), (8, 1, 1), {}, True),
        "1x1-stride2-pad1": ((2, 6, 5, 5), (4, 1, 1), {"padding": 1, "stride": 2}, True),
        "5x5-stride2": ((2, 9, 8, 5), (4, 5, 5), {"padding": 2, "stride": 2}, True),
        "2x3-stride1x2-pad0x1": ((2, 5, 7, 5), (7, 2, 3), {"padding": (0, 1), "stride": (1, 2)}, False),
        "2x3-dilation2": ((2, 6, 7, 3), (4, 2, 3), {"padding": 1, "dilation": 2}, True),
        "3x3-dilation1x2-stride3": ((1, 9, 11, 17), (4, 3, 3), {"stride": 3, "dilation": (1, 2)}, False),
        "one-channel-one-filter": ((1, 7, 6, 1), (1, 3, 3), {"padding": 2}, True),
        "one-channel-5x5-stride3": ((2, 11, 10, 1), (33, 5, 5), {"padding": 2, "stride": 3}, False),
        "groups2-stride2": ((2, 5, 5, 64), (8, 3, 3), {"padding": 1, "stride": 2, "groups": 2}, False),
        "groups4-odd": ((2, 6, 6, 12), (8, 2, 3), {"padding": 1, "groups": 4}, True),
        "depthwise": ((2, 6, 6, 4), (4, 3, 3), {"padding": 1, "groups": 4}, True),
        "whole-input": ((3, 5, 5, 17), (8, 5, 5), {}, False),
    }
    cases = {}
    for name, (image, kernel, geometry, biased) in table.items():
        rng = generator("conv2d", name)
        params = geometry_params(geometry)
        inputs = {"x": normal(rng, *image), "w": normal(rng, *kernel, image[3] // params["groups"])}
        if biased:
            inputs["bias"] = normal(rng, kernel[0])
        leaves = {key: leaf(value) for key, value in inputs.items()}
        y = conv2d(leaves["x"], leaves["w"], leaves.get("bias"), params)
        inputs["dy"] = normal(rng, *y.shape)
        cases[name] = params, {**inputs, "y": y, **gradients(y, inputs["dy"], leaves)}
    return cases


def pool(x, params):
    """Max over the window (padding never wins); mean over its pixels, or over its size; mean over the image."""
    if params["kind"] == "globalAverage":
        return x.mean((1, 2))
    window = {key: tuple(params[key]) for key in ("stride", "padding")}
    if params["kind"] == "max":
        return nhwc(F.max_pool2d(nchw(x), tuple(params["kernel"]), **window))
    include = params["countIncludePad"]
    return nhwc(F.avg_pool2d(nchw(x), tuple(params["kernel"]), **window, count_include_pad=include))


def pooling_cases():
    """name: kind, (B,H,W,C), (kernel, stride, padding), shift of x (below zero: a zero padding would win)."""
    table = {
        "max-2x2": ("max", (2, 8, 8, 3), (2, 2, 0), 0),
        "max-2x2-odd": ("max", (2, 7, 5, 17), (2, 2, 0), 0),
        "max-3x3-stride2-pad1": ("max", (2, 9, 8, 5), (3, 2, 1), -4),
        "max-3x3-stride1-pad1": ("max", (1, 6, 7, 1), (3, 1, 1), -4),
        "max-2x3-stride1x2-pad0x1": ("max", (3, 5, 7, 5), ((2, 3), (1, 2), (0, 1)), -4),
        "average-2x2": ("average", (2, 8, 8, 3), (2, 2, 0), 0),
        "average-8x8": ("average", (2, 8, 8, 17), (8, 8, 0), 0),
        "average-3x3-stride2-pad1": ("average", (2, 9, 8, 5), (3, 2, 1), 0),
        "average-3x3-stride2-pad1-included": ("averageIncluded", (2, 9, 8, 5), (3, 2, 1), 0),
        "average-2x3-stride1x2-pad0x1": ("average", (3, 5, 7, 1), ((2, 3), (1, 2), (0, 1)), 0),
        "average-5x5-stride1-pad2-included": ("averageIncluded", (1, 6, 7, 3), (5, 1, 2), 0),
        "global-average": ("globalAverage", (3, 7, 5, 17), None, 0),
        "global-average-one-pixel": ("globalAverage", (2, 1, 1, 5), None, 0),
    }
    cases = {}
    for name, (kind, image, window, shift) in table.items():
        rng = generator("pooling", name)
        params = {"kind": "average" if kind == "averageIncluded" else kind}
        if window is not None:
            params.update(zip(("kernel", "stride", "padding"), map(pair, window)))
        if params["kind"] == "average":
            params["countIncludePad"] = kind == "averageIncluded"
        x = normal(rng, *image) + np.float32(shift)
        leaves = {"x": leaf(x)}
        y = pool(leaves["x"], params)
        dy = normal(rng, *y.shape)
        cases[name] = params, {"x": x, "dy": dy, "y": y, **gradients(y, dy, leaves)}
    return cases


# ----------------------------------------------------------------------------------------------- batch_norm


def batch_statistics(x):
    """Mean and biased variance over all axes but the last."""
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(0)
    return mean, ((rows - mean) ** 2).mean(0)


def batch_norm(x, gamma, beta, mean, variance, params):
    """y = gamma (x - mean) / sqrt(variance + eps) + beta, and its ReLU."""
    y = gamma * (x - mean) / torch.sqrt(variance + params["eps"]) + beta
    return torch.relu(y) if params["relu"] else y


def batch_norm_cases():
    """name: training, relu, shape of x, its mean and deviation, further params."""
    table = {
        "train-channels1": (True, False, (2, 5, 4, 1), 0.5, 1, {}),
        "train-channels5": (True, False, (3, 4, 4, 5), -1, 2, {}),
        "train-channels17": (True, False, (4, 3, 3, 17), 2, 0.5, {}),
        "train-relu-channels1": (True, True, (2, 5, 4, 1), 0.5, 1, {}),
        "train-relu-channels5": (True, True, (3, 4, 4, 5), -1, 2, {}),
        "train-relu-channels17": (True, True, (4, 3, 3, 17), 2, 0.5, {}),
        "train-one-image": (True, True, (1, 6, 5, 5), 0, 1, {}),
        "train-far-mean": (True, False, (4, 5, 5, 5), 50, 1, {}),
        "train-rank2": (True, True, (12, 17), 0.5, 1, {}),
        "train-official": (True, True, (2, 4, 4, 5), 0, 0.1, {"eps": 1e-3, "momentum": 0.001}),
        "eval-channels1": (False, False, (2, 3, 4, 1), 0, 1, {}),
        "eval-channels17": (False, False, (2, 3, 3, 17), 1, 2, {}),
        "eval-relu-channels5": (False, True, (2, 3, 4, 5), 0, 1, {}),
    }
    cases = {}
    for name, (training, relu, shape, centre, deviation, options) in table.items():
        rng = generator("batch_norm", name)
        params = {"training": training, "relu": relu, "eps": 1e-5, "momentum": 0.1, **options}
        channels = shape[-1]
        inputs = {
            "x": centre + np.float32(deviation) * normal(rng, *shape),
            "gamma": uniform(rng, 0.5, 2, channels),
            "beta": normal(rng, channels),
            "running_mean": centre + normal(rng, channels),
            "running_variance": uniform(rng, 0.5, 2, channels),
        }
        running = [torch.tensor(inputs[key], dtype=torch.float64) for key in ("running_mean", "running_variance")]
        while True:  # until no value lies where float32 may see the other side of the ReLU
            leaves = {key: leaf(inputs[key]) for key in ("x", "gamma", "beta")}
            mean, variance = batch_statistics(leaves["x"]) if training else running
            close = batch_norm(*leaves.values(), mean, variance, {**params, "relu": False}).abs() < 1e-3
            if not close.any():
                break
            inputs["x"] = np.where(close.numpy(), centre + np.float32(deviation) * normal(rng, *shape), inputs["x"])
        y = batch_norm(*leaves.values(), mean, variance, params)
        inputs["dy"] = normal(rng, *shape)
        results = {"y": y, **gradients(y, inputs["dy"], leaves)}
        if training:
            count = inputs["x"].size // channels
            keep, share = 1 - params["momentum"], params["momentum"]
            results.update(mean=mean, variance=variance)
            results["running_mean_after"] = keep * running[0] + share * mean
            results["running_variance_after"] = keep * running[1] + share * variance * count / (count - 1)
        cases[name] = params, {**inputs, **results}
    return cases


# --------------------------------------------------------------------------------------------------- losses


def cross_entropy(logits, labels, smoothing=0.0):
    """-mean_i sum_j q_ij log softmax(logits)_ij, q = (1 - smoothing) one-hot + smoothing / classes."""
    target = F.one_hot(labels, logits.shape[1]).double() * (1 - smoothing) + smoothing / logits.shape[1]
    return -(target * torch.log_softmax(logits, 1)).sum(1).mean().reshape(1)


def margin_value(operator, theta, k, m):
    """g_m(theta) = g(m theta - j pi) - 2j, j = min(floor(m theta / pi), ceil(m) - 1)."""
    j = torch.clamp(torch.floor(m * theta.detach() / math.pi), max=math.ceil(m) - 1)
    return g(operator, m * theta - j * math.pi, k) - 2 * j


def angular_softmax(x, w, labels, params):
    """Loss, margin-free logits and mean angle of the true class (MATHS: losses)."""
    operator, k, m, annealing = params["operator"], params.get("k"), params["margin"], params["annealing"]
    feature_norm = x.norm(dim=1, keepdim=True)
    theta = torch.acos(x @ w.T / feature_norm / w.norm(dim=1))
    assert 1e-3 < theta.min() and theta.max() < math.pi - 1e-3
    scale = params["radius"] if params["loss"] == "sSoftmax" else feature_norm
    logits = scale * g(operator, theta, k)
    true_class = labels[:, None]
    theta_true = theta.gather(1, true_class)
    reach = theta_true[..., None] - torch.arange(1, math.ceil(m)) * math.pi / m
    assert (reach.abs() > 1e-3).all()
    with_margin = scale * margin_value(operator, theta_true, k, m)
    target = (annealing * logits.gather(1, true_class) + with_margin) / (1 + annealing)
    loss = cross_entropy(logits.scatter(1, true_class, target), labels)
    return loss, logits, theta_true.mean().reshape(1)


def angular_inputs(rng, batch, size, classes, m):
    """Features whose angle to their own class falls in the sectors [j pi/m, (j+1) pi/m) in turn."""
    w = normal(rng, classes, size)
    labels = rng.integers(0, classes, batch).astype(np.int32)
    x = np.empty((batch, size), np.float32)
    sectors = math.ceil(m)
    for i in range(batch):
        low, high = (min(edge * math.pi / m, math.pi) for edge in (i % sectors, i % sectors + 1))
        theta = low + rng.uniform(0.1, 0.9) * (high - low)
        x[i] = rng.uniform(0.5, 6) * at_angle(rng, w[labels[i]].astype(np.float64), theta)
    return x, w, labels


def loss_cases():
    """Softmax; W-Softmax; GA-Softmax over operators, margins and annealing; S-Softmax; hinge; a learned radius."""
    cases = {}
    for smoothing in (0, 0.01):
        for size, spread in (("small", 2), ("large", 60)):
            name = f"softmax-smoothing{smoothing}-{size}-logits"
            rng = generator("losses", name)
            logits = np.float32(spread) * normal(rng, 9, 10)
            labels = rng.integers(0, 10, 9).astype(np.int32)
            leaves = {"logits": leaf(logits)}
            loss = cross_entropy(leaves["logits"], torch.tensor(labels).long(), smoothing)
            found = gradients(loss, [1.0], leaves)
            params = {"loss": "softmax", "labelSmoothing": smoothing}
            cases[name] = params, {"logits": logits, "labels": labels, "loss": loss, **found}

    shapes = [(12, 8, 5), (9, 17, 10), (16, 6, 3), (5, 9, 4)]
    for operator in ("linear", "cosine", 0.3):
        label = operator if isinstance(operator, str) else f"sigmoid{operator}"
        settings = {f"w-softmax-{label}": {"loss": "wSoftmax", "margin": 1, "annealing": 0}}
        for m in (1, 2, 3, 4) + ((1.5, 2.5) if operator == "linear" else ()):
            for annealing in (0, 5, 100):
                name = f"ga-softmax-{label}-m{m}-lambda{annealing}"
                settings[name] = {"loss": "gaSoftmax", "margin": m, "annealing": annealing}
        settings[f"s-softmax-{label}"] = {"loss": "sSoftmax", "margin": 1, "annealing": 0, "radius": 10}
        for index, (name, setting) in enumerate(settings.items()):
            rng = generator("losses", name)
            params = {**operator_params(operator), **setting}
            x, w, labels = angular_inputs(rng, *shapes[index % len(shapes)], params["margin"])
            leaves = {"x": leaf(x), "w": leaf(w)}
            loss, logits, theta = angular_softmax(leaves["x"], leaves["w"], torch.tensor(labels).long(), params)
            found = gradients(loss, [1.0], leaves)
            results = {"loss": loss, "logits": logits, "theta": theta, **found}
            cases[name] = params, {"x": x, "w": w, "labels": labels, **results}
    return {**cases, **hinge_cases(), **learned_radius_cases()}


def hinge_cases():
    """torch.nn.MultiMarginLoss."""
    cases = {}
    for name, (batch, classes, margin, squared) in {
        "hinge": (9, 10, 1, False),
        "hinge-margin0.5": (5, 3, 0.5, False),
        "hinge-squared": (7, 4, 1, True),
        "hinge-squared-margin2": (6, 17, 2, True),
    }.items():
        rng = generator("losses", name)
        logits, labels = normal(rng, batch, classes), rng.integers(0, classes, batch).astype(np.int32)
        leaves = {"logits": leaf(logits)}
        criterion = torch.nn.MultiMarginLoss(p=2 if squared else 1, margin=margin)
        loss = criterion(leaves["logits"], torch.tensor(labels).long()).reshape(1)
        params = {"loss": "hinge", "margin": margin, "squared": squared}
        cases[name] = params, {"logits": logits, "labels": labels, "loss": loss, **gradients(loss, [1.0], leaves)}
    return cases


def learned_radius_cases():
    """S-Softmax whose radius is differentiated; with the cosine it is NormFace."""
    cases = {}
    for name, operator, radius in (("normface", "cosine", 16), ("learned-radius-sigmoid", 0.3, 5)):
        rng = generator("losses", name)
        x, w, labels = angular_inputs(rng, 9, 7, 6, 1)
        inputs = {"x": x, "w": w, "radius": np.array([radius], np.float32)}
        leaves = {key: leaf(value) for key, value in inputs.items()}
        params = {**operator_params(operator), "loss": "sSoftmax"}
        full = {**params, "margin": 1, "annealing": 0, "radius": leaves["radius"]}
        loss, logits, theta = angular_softmax(leaves["x"], leaves["w"], torch.tensor(labels).long(), full)
        results = {"loss": loss, "logits": logits, "theta": theta, **gradients(loss, [1.0], leaves)}
        cases[name] = params, {**inputs, "labels": labels, **results}
    return cases


# ------------------------------------------------------------------------------------------ orthogonality


def orthogonality(w, coefficient, normalized):
    """coefficient * ||W W^T - I||_F^2, a filter a row; the rows at unit length if normalized (zero rows stay)."""
    rows = w.flatten(1)
    if normalized:
        square = (rows * rows).sum(1, keepdim=True)
        rows = rows / torch.sqrt(torch.where(square > 0, square, torch.ones_like(square)))
    return coefficient * ((rows @ rows.T - torch.eye(len(rows))) ** 2).sum().reshape(1)


def orthogonality_cases():
    """name: shape of w, deviation of its entries, coefficient, normalized, zero filter."""
    table = {
        "normalized": ((8, 3, 3, 3), 1, 1, True, None),
        "normalized-wide": ((33, 3, 3, 5), 0.2, 1e-4, True, None),
        "normalized-more-filters-than-inputs": ((7, 1, 1, 5), 1, 1, True, None),
        "normalized-rank2": ((10, 17), 0.1, 1e-4, True, None),
        "normalized-zero-filter": ((4, 3, 3, 3), 1, 1, True, 2),
        "raw": ((8, 3, 3, 3), 0.2, 1, False, None),
        "raw-wide": ((33, 3, 3, 5), 0.2, 1e-4, False, None),
        "raw-one-filter": ((1, 3, 3, 5), 0.1, 1, False, None),
        "raw-rank2": ((10, 17), 0.3, 1e-4, False, None),
    }
    cases = {}
    for name, (shape, deviation, coefficient, normalized, zero_filter) in table.items():
        w = np.float32(deviation) * normal(generator("orthogonality", name), *shape)
        if zero_filter is not None:
            w[zero_filter] = 0
        leaves = {"w": leaf(w)}
        loss = orthogonality(leaves["w"], coefficient, normalized)
        params = {"coefficient": coefficient, "normalized": normalized}
        cases[name] = params, {"w": w, "loss": loss, **gradients(loss, [1.0], leaves)}
    return cases


# --------------------------------------------------------------------------------------------- separation


def hyperspherical_energy(w, power, half_space):
    """Mean over pairs of unit vectors, from their differences; half_space: the opposites are vectors too."""
    units = F.normalize(w.flatten(1), dim=1)
    if half_space:
        units = torch.cat([units, -units])
    first, second = torch.triu_indices(len(units), len(units), 1)
    square = ((units[first] - units[second]) ** 2).sum(1) + 1e-4
    energy = -0.5 * torch.log(square) if power == 0 else square ** (-power / 2)
    return energy.mean().reshape(1)


def minimal_angle(w):
    """-mean_i min_j angle(w_i, w_j)."""
    units = F.normalize(w.flatten(1), dim=1)
    angles = torch.acos((units @ units.T).clamp(-1 + 1e-12, 1 - 1e-12))
    return -(angles + 10 * torch.eye(len(units))).min(1).values.mean().reshape(1)


def separation_cases():
    """MHE over powers and both spaces, and MMA."""
    shapes = [(8, 3, 3, 3), (33, 1, 1, 5), (7, 17), (2, 2, 2, 1)]
    cases = {}
    for index, (power, half_space) in enumerate((p, h) for p in (0, 1, 2) for h in (False, True)):
        name = f"energy-{power}{'-half' if half_space else ''}"
        w = normal(generator("separation", name), *shapes[index % len(shapes)])
        leaves = {"w": leaf(w)}
        loss = hyperspherical_energy(leaves["w"], power, half_space)
        params = {"power": power, "halfSpace": half_space}
        cases[name] = params, {"w": w, "loss": loss, **gradients(loss, [1.0], leaves)}
    for index, shape in enumerate(shapes):
        name = f"angle-{'x'.join(map(str, shape))}"
        w = normal(generator("separation", name), *shape)
        leaves = {"w": leaf(w)}
        loss = minimal_angle(leaves["w"])
        cases[name] = {}, {"w": w, "loss": loss, **gradients(loss, [1.0], leaves)}
    return cases


# --------------------------------------------------------------------------------------------- optimizers


def optimizer_cases():
    """Five steps of torch.optim in float64; grads and params are stacked [step, n]."""
    adam = {"learningRate": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8}
    sgd = {"learningRate": 0.1, "momentum": 0.9, "nesterov": False}
    table = {
        "adam": {"optimizer": "adam", **adam, "weightDecay": 0},
        "adam-weight-decay": {"optimizer": "adam", **adam, "weightDecay": 5e-4},
        "adamw": {"optimizer": "adamw", **adam, "weightDecay": 1e-2},
        "sgd-plain": {"optimizer": "sgd", **sgd, "momentum": 0, "weightDecay": 0},
        "sgd-momentum": {"optimizer": "sgd", **sgd, "weightDecay": 0},
        "sgd-nesterov": {"optimizer": "sgd", **sgd, "nesterov": True, "weightDecay": 0},
        "sgd-momentum-weight-decay": {"optimizer": "sgd", **sgd, "weightDecay": 5e-4},
        "sgd-nesterov-weight-decay": {"optimizer": "sgd", **sgd, "nesterov": True, "weightDecay": 5e-4},
    }
    cases = {}
    for name, params in table.items():
        rng = generator("optimizers", name)
        initial, grads = normal(rng, 37), normal(rng, 5, 37)
        param = leaf(initial)
        shared = {"lr": params["learningRate"], "weight_decay": params["weightDecay"]}
        if params["optimizer"] == "sgd":
            optimizer = torch.optim.SGD([param], momentum=params["momentum"], nesterov=params["nesterov"], **shared)
        else:
            make = torch.optim.AdamW if params["optimizer"] == "adamw" else torch.optim.Adam
            optimizer = make([param], betas=(params["beta1"], params["beta2"]), eps=params["eps"], **shared)
        trajectory = []
        for gradient in grads:
            param.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
            trajectory.append(param.detach().clone())
        cases[name] = params, {"param": initial, "grads": grads, "params": torch.stack(trajectory)}
    return cases


# --------------------------------------------------------------------------------------------------- math


def symmetric(positive, zero=True):
    """Float32 numbers, so that float32 code can be given exactly these, as float64: -p, 0, p."""
    positive = np.unique(np.asarray(positive, dtype=np.float32)).astype(np.float64)
    return np.concatenate([-positive[::-1], [0.0] * zero, positive])


def table_of(function, points):
    """function at 80 digits, rounded to float64."""
    return np.array([float(function(mpmath.mpf(float(point)))) for point in points])


def linear(s):
    """Paper eq. 2: 1 - 2 theta / pi."""
    return 1 - 2 * mpmath.acos(s) / mpmath.pi


def sigmoid(s, k):
    """Paper eq. 4 as printed."""
    limit, u = mpmath.exp(-mpmath.pi / (2 * k)), mpmath.exp(mpmath.acos(s) / k - mpmath.pi / (2 * k))
    return (1 + limit) / (1 - limit) * (1 - u) / (1 + u)


def math_cases():
    """asin, tanh, and g, dg/ds, dg/dk (numerical derivatives at 80 digits). g's grids leave out s = +-1."""
    tiny = 10.0 ** np.arange(-30, -2)
    near_one = 1 - 2.0 ** -np.linspace(4, 24, 41)
    inside = symmetric(np.concatenate([tiny, np.linspace(0.004, 0.996, 130), near_one]))
    closed = np.concatenate([[-1.0], inside, [1.0]])
    v = symmetric(np.concatenate([tiny, np.linspace(0.01, 10, 120), np.linspace(10.5, 60, 50)]))
    cases = {
        "asin": ({"function": "asin"}, {"s": closed, "asin": table_of(mpmath.asin, closed)}),
        "tanh": ({"function": "tanh"}, {"v": v, "tanh": table_of(mpmath.tanh, v)}),
    }
    cases["linear"] = {"function": "g", "operator": "linear"}, {
        "s": inside,
        "g": table_of(linear, inside),
        "dg_ds": table_of(lambda s: mpmath.diff(linear, s), inside),
    }
    for k in (0.01, 0.05, 0.1, 0.3, 0.7, 2, 10):
        exact = mpmath.mpf(k)
        cases[f"sigmoid{k}"] = {"function": "g", "operator": "sigmoid", "k": k}, {
            "s": inside,
            "g": table_of(lambda s: sigmoid(s, exact), inside),
            "dg_ds": table_of(lambda s: mpmath.diff(lambda t: sigmoid(t, exact), s), inside),
            "dg_dk": table_of(lambda s: mpmath.diff(lambda t: sigmoid(s, t), exact), inside),
        }
    return cases


if __name__ == "__main__":
    mpmath.mp.dps = 80
    FIXTURES.mkdir(parents=True, exist_ok=True)
    for family, make in (
        ("sphere_conv2d", sphere_conv2d_cases),
        ("conv2d", conv2d_cases),
        ("pooling", pooling_cases),
        ("batch_norm", batch_norm_cases),
        ("losses", loss_cases),
        ("orthogonality", orthogonality_cases),
        ("separation", separation_cases),
        ("optimizers", optimizer_cases),
        ("math", math_cases),
    ):
        write_safetensors(FIXTURES / f"{family}.safetensors", make())
