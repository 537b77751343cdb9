"""PyTorch as a contender of `spherenet bench --peer pytorch`, by any Python that has torch.

Reads one JSON request a line on stdin, answers with one JSON line on stdout, and computes only while it is asked to, so
that contenders run strictly in turn. lib/bench/peers/pytorch.ts is the other side.

    pytorch.py --self-check    holds the SphereConv below against its definition, patch by patch in float64
"""

import base64
import gc
import json
import math
import signal
import sys
import time
from contextlib import nullcontext

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except Exception as error:  # a broken installation fails in many ways
    print(json.dumps({"error": str(error).strip().split("\n")[0]}), flush=True)
    sys.exit(1)

EPS = 1e-6  # shorter patches and filters have cosine 0, as in ours
POLE = 1e-6  # asin has no derivative at the poles
TILE = 1 << 20  # as lib/bench/variedTensor.ts


# ------------------------------------------------------------------------------------------------ SphereConv


def box_by_pooling(squares, kernel, stride, padding):
    return F.avg_pool2d(squares, kernel, stride, padding) * (kernel * kernel)


def box_by_convolution(squares, kernel, stride, padding):
    return F.conv2d(squares, squares.new_ones(1, 1, kernel, kernel), None, stride, padding)


BOXES = [box_by_pooling, box_by_convolution]


def sphere_conv2d(x, w, stride, padding, operator, k, box):
    """g of the angle between patch and filter: one convolution with unit filters, and norms from a box sum."""
    unit = w * w.square().sum((1, 2, 3), keepdim=True).clamp(min=EPS * EPS).rsqrt()
    squares = box(x.square().sum(1, keepdim=True), w.shape[2], stride, padding)
    cosine = F.conv2d(x, unit, None, stride, padding) * squares.clamp(min=EPS * EPS).rsqrt()
    return angular(cosine, operator, k)


def angular(cosine, operator, k):
    if operator == "cosine":
        return cosine
    if operator == "square":
        return cosine * cosine.abs()
    angle = torch.asin(cosine.clamp(POLE - 1, 1 - POLE))  # pi/2 - theta
    if operator == "linear":
        return angle * (2 / math.pi)
    return torch.tanh(angle / (2 * k)) * (1 / math.tanh(math.pi / (4 * k)))


class Convolve(nn.Module):
    """A plain or spherical convolution without its filters."""

    def __init__(self, stride, padding, operator, k, box):
        super().__init__()
        self.stride, self.padding, self.operator, self.k, self.box = stride, padding, operator, k, box

    def forward(self, x, w):
        if self.operator == "plain":
            return F.conv2d(x, w, None, self.stride, self.padding)
        return sphere_conv2d(x, w, self.stride, self.padding, self.operator, self.k, self.box)


# ----------------------------------------------------------------------------------------------------- cases


def varied(shape, phase):
    """The numbers of our own contenders."""
    count = math.prod(shape)
    tile = torch.sin(torch.arange(min(count, TILE), dtype=torch.float64) + phase).float()
    return tile.repeat(-(-count // TILE))[:count].reshape(shape)


class Setting:
    """Device, precision and memory layout of a case."""

    def __init__(self, device, precision, layout):
        self.device, self.precision, self.layout = device, precision, layout

    def apply(self):
        # Of the process, hence before each run.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision != "fp32"
        torch.backends.cudnn.benchmark = True

    def autocast(self):
        return torch.autocast(self.device, dtype=torch.bfloat16) if self.precision == "bf16" else nullcontext()

    def place(self, nhwc):
        """An NHWC (or O x kH x kW x I) tensor as PyTorch's NCHW view, in the layout of the case."""
        view = nhwc.to(self.device).permute(0, 3, 1, 2)
        return view.contiguous(memory_format=torch.channels_last if self.layout == "channels-last" else torch.contiguous_format)

    def now(self):
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() * 1e3

    def reset_peak(self):
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def peak(self):
        return torch.cuda.max_memory_allocated() if self.device == "cuda" else None


class ConvolutionCase:
    """Forward and backward of one layer."""

    def __init__(self, setting, spec):
        batch, size, channels, filters, kernel = (spec[name] for name in ["batch", "size", "channels", "filters", "kernel"])
        stride, padding = spec["stride"], spec["padding"]
        out = (size + 2 * padding - kernel) // stride + 1
        self.setting = setting
        self.x = setting.place(varied([batch, size, size, channels], 0)).requires_grad_()
        self.w = setting.place(varied([filters, kernel, kernel, channels], 1)).requires_grad_()
        self.dy = setting.place(varied([batch, out, out, filters], 2))
        self.convolve = Convolve(stride, padding, spec["operator"], spec["k"], BOXES[0])
        if spec["operator"] != "plain":
            self.convolve.box = min(BOXES, key=self.time_of)
        if spec["compile"]:
            self.convolve = torch.compile(self.convolve)

    def time_of(self, box):
        """The shortest of a few runs."""
        self.convolve.box = box
        return min(sum(self.run().values()) for _ in range(3))

    def run(self):
        self.y = self.x.grad = self.w.grad = None
        self.setting.apply()
        start = self.setting.now()
        with self.setting.autocast():
            y = self.convolve(self.x, self.w)
        middle = self.setting.now()
        y.backward(self.dy.to(y.dtype))
        end = self.setting.now()
        self.y = y.detach()
        return {"forward": middle - start, "backward": end - middle}

    def outputs(self, request):
        self.run()
        nhwc = lambda tensor: encode(tensor.permute(0, 2, 3, 1))
        return {"y": nhwc(self.y), "dx": nhwc(self.x.grad), "dw": nhwc(self.w.grad)}


class StepCase:
    """Forward, backward and Adam of a whole network on one batch."""

    def __init__(self, setting, spec):
        network, batch = spec["network"], spec["batch"]
        size, channels, classes = network["imageSize"], network["inputChannels"], network["classes"]
        self.setting = setting
        torch.manual_seed(0)
        self.images = setting.place(varied([batch, size, size, channels], 0))
        self.labels = (torch.arange(batch) % classes).to(setting.device)
        self.model = NETWORKS[network["network"]](network, spec["operator"], spec["k"]).to(setting.device)
        if setting.layout == "channels-last":
            self.model = self.model.to(memory_format=torch.channels_last)
        self.forward = self.model
        self.optimizer = adam(self.model.parameters())
        if spec["operator"] != "plain":
            self.use(min(BOXES, key=self.time_of))
        if spec["compile"]:
            self.forward = torch.compile(self.model)

    def use(self, box):
        for module in self.model.modules():
            if isinstance(module, Convolve):
                module.box = box

    def time_of(self, box):
        """The shorter of two steps."""
        self.use(box)
        return min(self.run()["step"] for _ in range(2))

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        with self.setting.autocast():
            loss = F.cross_entropy(self.forward(self.images), self.labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def run(self):
        self.setting.apply()
        start = self.setting.now()
        self.step()
        return {"step": self.setting.now() - start}

    def outputs(self, request):
        """The losses of the next steps, from the parameters given in our order and layout."""
        self.setting.apply()
        with torch.no_grad():
            for parameter, data in zip(self.model.parameters(), request.get("parameters", [])):
                values = decode(data)
                if parameter.dim() == 4:
                    o, i, h, w = parameter.shape
                    values = values.reshape(o, h, w, i).permute(0, 3, 1, 2)
                parameter.copy_(values.reshape(parameter.shape))
        # Without the moments of steps before.
        self.optimizer = adam(self.model.parameters())
        return {"losses": [self.step().item() for _ in range(request["steps"])]}


class ConvolutionLayer(nn.Module):
    def __init__(self, inputs, outputs, kernel, padding, operator, k, stride=1):
        super().__init__()
        deviation = math.sqrt(2 / (kernel * kernel * inputs))
        self.weight = nn.Parameter(torch.randn(outputs, inputs, kernel, kernel) * deviation)
        self.convolve = Convolve(stride, padding, operator, k, box_by_pooling)

    def forward(self, x):
        return self.convolve(x, self.weight)


def cnn(network, operator, k):
    """CNN-n or SphereNet-n, as lib/models/cnn.ts."""
    layers, inputs = [], network["inputChannels"]
    for width in network["widths"]:
        for _ in range(network["depth"] // 3):
            layers += [ConvolutionLayer(inputs, width, 3, 1, operator, k), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        layers.append(nn.MaxPool2d(2))
    last = network["imageSize"] >> len(network["widths"])
    layers += [ConvolutionLayer(inputs, network["features"], last, 0, operator, k), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(network["features"], network["classes"]))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, a 1x1 convolution where shapes change."""

    def __init__(self, inputs, outputs, stride, operator, shortcut_operator, k):
        super().__init__()
        self.body = nn.Sequential(
            ConvolutionLayer(inputs, outputs, 3, 1, operator, k, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
            ConvolutionLayer(outputs, outputs, 3, 1, operator, k), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            projection = ConvolutionLayer(inputs, outputs, 1, 0, shortcut_operator, k, stride)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x):
        return F.relu(self.body(x).add_(self.shortcut(x)), inplace=True)


def residual_network(network, operator, k, root, blocks):
    """Root, stages of basic blocks, mean and classifier, as lib/models/resNet.ts."""
    widths = network["widths"]
    shortcut_operator = operator if network.get("sphereShortcuts") else "plain"
    layers, inputs = [root[0], nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True), *root[1:]], widths[0]
    for stage, width in enumerate(widths):
        for i in range(blocks):
            layers.append(BasicBlock(inputs, width, 2 if stage > 0 and i == 0 else 1, operator, shortcut_operator, k))
            inputs = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, network["classes"])]
    return nn.Sequential(*layers)


def resnet32(network, operator, k):
    root = ConvolutionLayer(network["inputChannels"], network["widths"][0], 3, 1, operator, k)
    return residual_network(network, operator, k, [root], 5)


def resnet18(network, operator, k):
    root = ConvolutionLayer(network["inputChannels"], network["widths"][0], 7, 3, operator, k, 2)
    return residual_network(network, operator, k, [root, nn.MaxPool2d(3, 2, 1)], 2)


NETWORKS = {"cnn": cnn, "resnet32": resnet32, "resnet18": resnet18}


def adam(parameters):
    """The fastest that this PyTorch has."""
    parameters = list(parameters)
    for option in [{"fused": True}, {"foreach": True}, {}]:
        try:
            return torch.optim.Adam(parameters, lr=1e-3, **option)
        except (TypeError, RuntimeError):
            pass
    raise RuntimeError("torch.optim.Adam cannot be made")


# ---------------------------------------------------------------------------------------------------- memory


def of_process(name):
    """VmRSS or VmHWM in bytes; null where there is no /proc."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith(name))
    except (OSError, StopIteration):
        return None


def reset_resident_peak():
    gc.collect()
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        pass  # the peak is then one of the whole life


# ----------------------------------------------------------------------------------------------- conversation


def encode(tensor):
    return base64.b64encode(tensor.detach().float().cpu().contiguous().numpy().tobytes()).decode()


def decode(data):
    return torch.frombuffer(bytearray(base64.b64decode(data)), dtype=torch.float32)


CASES = {"convolution": ConvolutionCase, "step": StepCase}


class Peer:
    def __init__(self):
        self.cases = {}
        self.base = of_process("VmRSS")

    def hello(self, request):
        torch.set_num_threads(request["threads"])
        cuda = torch.cuda.is_available()
        return {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "cuda": cuda,
            "gpu": torch.cuda.get_device_name() if cuda else None,
            "compile": hasattr(torch, "compile"),
            "networks": list(NETWORKS),
        }

    def prepare(self, request):
        setting = Setting(request["device"], request["precision"], request["layout"])
        setting.apply()
        case = CASES[request["kind"]](setting, request)
        number = len(self.cases)
        self.cases[number] = case
        model = getattr(case, "model", None)
        return {"case": number, "parameters": sum(p.numel() for p in model.parameters()) if model else None}

    def run(self, request):
        case = self.cases[request["case"]]
        case.setting.reset_peak()
        passes = case.run()
        return {"passes": passes, "peakBytes": case.setting.peak()}

    def outputs(self, request):
        return self.cases[request["case"]].outputs(request)

    def release(self, request):
        case = self.cases[request["case"]]
        # Numbers stay taken, memory does not.
        self.cases[request["case"]] = None
        device = case.setting.device
        del case
        gc.collect()
        if device == "cuda":
            torch.cuda.empty_cache()
        return {}

    def reset_resident(self, request):
        reset_resident_peak()
        return {}

    def resident(self, request):
        return {"residentBytes": of_process("VmHWM"), "residentBaseBytes": self.base}


def converse():
    # Ctrl-C is for the other side, which then closes stdin.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    peer = Peer()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(peer, request["do"])(request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}".split("\n")[0]}
        print(json.dumps(answer), flush=True)


# ------------------------------------------------------------------------------------------------- self-check


def by_definition(x, w, stride, padding, operator, k):
    """Every patch by itself, its angle to every filter, and g as the paper prints it."""
    patches = F.unfold(x, w.shape[2], padding=padding, stride=stride).transpose(1, 2)
    filters = w.flatten(1)
    theta = torch.acos((patches @ filters.T) / (patches.norm(dim=2, keepdim=True) * filters.norm(dim=1)))
    if operator == "linear":
        y = 1 - 2 * theta / math.pi
    elif operator == "cosine":
        y = torch.cos(theta)
    elif operator == "square":
        y = torch.cos(theta) * torch.cos(theta).abs()
    else:
        scale = (1 + math.exp(-math.pi / (2 * k))) / (1 - math.exp(-math.pi / (2 * k)))
        power = torch.exp(theta / k - math.pi / (2 * k))
        y = scale * (1 - power) / (1 + power)
    out = (x.shape[2] + 2 * padding - w.shape[2]) // stride + 1
    return y.transpose(1, 2).reshape(x.shape[0], -1, out, out)


def self_check():
    worst = 0
    for kernel, stride, padding in [(3, 1, 1), (3, 2, 1), (1, 2, 0), (4, 1, 0)]:
        for operator in ["linear", "cosine", "sigmoid", "square"]:
            for box in BOXES:
                for dtype, limit in [(torch.float64, 1e-9), (torch.float32, 1e-4)]:
                    error = difference(kernel, stride, padding, operator, box, dtype)
                    name = f"{operator} {kernel}x{kernel} stride {stride} {box.__name__} {dtype}"
                    print(f"{'ok' if error < limit else 'WRONG'}  {error:.1e}  {name}")
                    worst = max(worst, error / limit)
    print("all agree" if worst < 1 else "NOT all agree")
    return 0 if worst < 1 else 1


def difference(kernel, stride, padding, operator, box, dtype):
    """The largest difference of y, dx and dw from the definition, relative to the largest entry."""
    inputs = [varied([2, 5, 8, 8], 0), varied([6, 5, kernel, kernel], 1)]
    results = []
    for compute, kind in [(lambda x, w: sphere_conv2d(x, w, stride, padding, operator, 0.3, box), dtype),
                          (lambda x, w: by_definition(x, w, stride, padding, operator, 0.3), torch.float64)]:
        x, w = (tensor.to(kind).requires_grad_() for tensor in inputs)
        y = compute(x, w)
        results.append([y, *torch.autograd.grad(y, [x, w], varied(y.shape, 2).to(kind))])
    return max(((a.double() - b).abs().max() / b.abs().max()).item() for a, b in zip(*results))


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-check"]:
        sys.exit(self_check())
    if sys.argv[1:]:
        print(f"usage: {sys.argv[0]} [--self-check]", file=sys.stderr)
        sys.exit(2)
    converse()
