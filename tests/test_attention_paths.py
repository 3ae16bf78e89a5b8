"""The ways to compute relative attention, each against the explicit form, and the rule that chooses among them."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from benchmarks import attention as benchmark
from blendnet.attention import _blocks, _explicit, _fused, _paths
from blendnet.attention.aacn import AAConv2d
from blendnet.errors import BlendnetError

FAST = sorted(set(_paths.WAYS) - {"explicit"})


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def terms(batch=2, heads=3, dkh=4, dvh=5, size=(3, 5), dtype=torch.float64, seed=0):
    """q, k, v, rows, columns, all random and independent."""
    (height, width), generator = size, torch.Generator().manual_seed(seed)
    n = height * width
    ends = ((dkh, n), (dkh, n), (dvh, n), (n, height), (n, width))
    return [
        torch.randn(batch, heads, *end, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
        for end in ends
    ]


def layer(way=None, dtype=torch.float32, map_size=(4, 6), **options):
    settings = {"dk": 8, "dv": 12, "num_heads": 4} | options
    new = AAConv2d(5, 20, 3, map_size=map_size, generator=torch.Generator().manual_seed(0), **settings).to(dtype)
    new.path = way
    return new


def image(*shape, dtype=torch.float32, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def gradients(run, inputs, seed=3):
    out = run(*inputs)
    return torch.autograd.grad(out, inputs, image(*out.shape, dtype=out.dtype, seed=seed))


def loops(q, k, v, rows, columns):
    """The definition, a query and a key at a time."""
    out = torch.zeros(v.shape, dtype=v.dtype)
    width = columns.shape[-1]
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in (*q.shape[:2], q.shape[3]))).tolist():
        logits = [
            q[b, h, :, i] @ k[b, h, :, j] + rows[b, h, i, j // width] + columns[b, h, i, j % width]
            for j in range(q.shape[3])
        ]
        weights = torch.stack(logits).softmax(0)
        out[b, h, :, i] = sum(w * v[b, h, :, j] for j, w in enumerate(weights))
    return out


def test_the_explicit_form_equals_the_definition():
    inputs = [t.detach() for t in terms(size=(2, 4))]
    torch.testing.assert_close(_explicit.attend(*inputs), loops(*inputs), rtol=0, atol=1e-13)
    q, k, _, rows, columns = inputs
    ones = torch.ones(2, 3, 8, dtype=torch.float64)
    torch.testing.assert_close(_explicit.softmax(q, k, rows, columns).sum(-1), ones)


# Blocks of 2 whole heads of 6; of 64 queries and the last 36 of a head; one block for all.
@pytest.mark.parametrize(("size", "block"), [((3, 5), 2 * 15 * 15), ((10, 10), 50), ((3, 5), 2**19), ((1, 1), 1)])
@pytest.mark.parametrize("way", FAST)
def test_values_and_gradients_equal_the_explicit_form(way, size, block, monkeypatch):
    monkeypatch.setattr(_blocks, "CPU_BLOCK_A_THREAD", block)
    inputs = terms(size=size)
    ours, theirs = _paths.WAYS[way](*inputs), _explicit.attend(*inputs)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-13)
    for a, b in zip(gradients(_paths.WAYS[way], inputs), gradients(_explicit.attend, inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", sorted(_paths.WAYS))
def test_gradcheck_and_gradgradcheck(way, monkeypatch):
    monkeypatch.setattr(_blocks, "CPU_BLOCK_A_THREAD", 2 * 6 * 6)
    inputs = terms(batch=1, heads=3, dkh=2, dvh=3, size=(2, 3))
    assert torch.autograd.gradcheck(_paths.WAYS[way], inputs)
    assert torch.autograd.gradgradcheck(_paths.WAYS[way], inputs)


@pytest.mark.parametrize("way", sorted(_paths.WAYS))
def test_second_derivatives_where_rows_are_made_of_queries(way):
    """As in the layer; a partial derivative taken through the caller's graph would count that path twice."""
    q, k, v, *_ = terms()
    tables = [image(3, 3, 4, dtype=torch.float64), image(5, 5, 4, dtype=torch.float64)]

    def run(attend):
        grid = q.unflatten(3, (3, 5))
        rows = torch.einsum("bhdyx,yzd->bhyxz", grid, tables[0]).flatten(2, 3)
        columns = torch.einsum("bhdyx,xzd->bhyxz", grid, tables[1]).flatten(2, 3)
        out = attend(q, k, v, rows, columns)
        slopes = torch.autograd.grad(out.sin().sum(), (q, k, v), create_graph=True)
        return torch.autograd.grad(sum(s.square().sum() for s in slopes), (q, k, v))

    for a, b in zip(run(_paths.WAYS[way]), run(_explicit.attend), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", FAST)
def test_logits_too_large_for_the_exponential(way):
    inputs = [t.detach() * 100 for t in terms()]
    for t in inputs:
        t.requires_grad_()
    out = _paths.WAYS[way](*inputs)
    assert out.isfinite().all()
    torch.testing.assert_close(out, _explicit.attend(*inputs), rtol=1e-10, atol=1e-8)
    assert all(g.isfinite().all() for g in gradients(_paths.WAYS[way], inputs))


# Bounds on |difference| / |largest|, against float64: the machine's rounding step times the few operations in a row.
BOUNDS = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 0.03, torch.float16: 0.004}


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize("way", sorted(_paths.WAYS))
def test_dtypes(way, dtype):
    exact = terms(dtype=torch.float64, size=(4, 6))
    inputs = [t.detach().to(dtype).requires_grad_() for t in exact]
    out, expected = _paths.WAYS[way](*inputs), _explicit.attend(*exact)
    assert out.dtype == dtype
    assert out.shape == expected.shape
    pairs = [(out, expected), *zip(gradients(_paths.WAYS[way], inputs), gradients(_explicit.attend, exact))]
    for a, b in pairs:
        assert (a.double() - b).abs().max() < BOUNDS[dtype] * b.abs().max()


def kept(run):
    """Shapes of the tensors that autograd keeps for backward."""
    shapes = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: shapes.append(tuple(t.shape)) or t, lambda t: t):
        run()
    return shapes


@pytest.mark.parametrize("way", sorted(_paths.WAYS))
def test_no_matrix_of_all_pairs_is_kept_but_by_the_explicit_form(way):
    inputs = terms(size=(9, 11))  # 99 tokens, a number that no other extent here equals
    shapes = kept(lambda: _paths.WAYS[way](*inputs))
    assert shapes
    assert any(shape[-2:] == (99, 99) for shape in shapes) is (way == "explicit")


def test_blocks_keep_their_inputs_and_the_output_and_nothing_else():
    inputs = terms(size=(9, 11))
    shapes = kept(lambda: _blocks.attend(*inputs))
    assert shapes == [*(tuple(t.shape) for t in inputs), tuple(inputs[2].shape)]


class _Largest(torch.utils._python_dispatch.TorchDispatchMode):
    """The numbers in the largest tensor that any operation returns."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for t in torch.utils._pytree.tree_leaves(out):
            if isinstance(t, torch.Tensor):
                self.largest = max(self.largest, t.numel())
        return out


def test_blocks_never_make_the_matrix(monkeypatch):
    """24 x 24 places, 576^2 = 331776 logits a head; blocks of 64 queries, 36864."""
    monkeypatch.setattr(_blocks, "CPU_BLOCK_A_THREAD", 1)
    inputs = terms(batch=1, heads=2, dkh=2, dvh=2, size=(24, 24), dtype=torch.float32)

    def largest(run):
        with _Largest() as mode:
            gradients(run, inputs)
        return mode.largest

    assert largest(_explicit.attend) == 2 * 576**2

    def unpacked(*inputs):
        return _blocks.attend._init_fn(*inputs)

    with torch.no_grad(), _Largest() as mode:
        grad = unpacked(*inputs)
        _blocks._backward._init_fn(grad, *inputs, grad)
    assert mode.largest == 64 * 576


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_fused_kernel_is_used_forward_and_backward(dtype):
    """Otherwise PyTorch silently builds the N x N matrix."""
    assert _fused.fits("cpu", dtype, 8 + 16 + 16, 8)
    inputs = terms(1, 2, 8, 8, (16, 16), dtype)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        gradients(_fused.attend, inputs)
    ran = {event.key for event in profile.key_averages()}
    assert "aten::_scaled_dot_product_flash_attention_for_cpu" in ran
    assert "aten::_scaled_dot_product_flash_attention_for_cpu_backward" in ran
    assert "aten::_scaled_dot_product_attention_math" not in ran


def test_fused_kernels_that_are_not_there_are_not_chosen():
    assert not _fused.fits("cpu", torch.complex64, 8, 8)
    assert not _fused.fits("mps", torch.float32, 8, 8)
    with sdpa_kernel(SDPBackend.MATH):
        assert not _fused.fits("cpu", torch.float32, 8, 8)
    assert _fused.fits("cpu", torch.float32, 8, 8)


def test_the_rule(monkeypatch):
    assert _paths.path("cpu", 3136, 120, 8, torch.float32) == "blocks"
    assert _paths.path("cpu", 50, 74, 8, torch.float32) == "blocks"
    assert _paths.path("cpu", 49, 22, 8, torch.float32) == "explicit"
    assert _paths.path("meta", 3136, 120, 8, torch.float32) == "blocks"
    monkeypatch.setattr(_fused, "fits", lambda device, dtype, keys, values: dtype == torch.bfloat16)
    assert _paths.path("cuda", 3136, 120, 8, torch.bfloat16) == "folded"
    assert _paths.path("cuda", 3136, 120, 8, torch.float64) == "blocks"
    assert _paths.path("mps", 3136, 120, 8, torch.float32) == "blocks"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_the_ways_agree():
    inputs = [t.detach().cuda().requires_grad_() for t in terms(size=(8, 9), dtype=torch.float32)]
    assert _paths.path("cuda", 72, 21, 5, torch.bfloat16) == "folded"
    expected = gradients(_explicit.attend, inputs)
    for way in FAST:
        for a, b in zip(gradients(_paths.WAYS[way], inputs), expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-3)


def test_the_benchmark_s_flex_attention_is_the_same_function():
    """Forward, uncompiled; with gradients it does not run on a CPU, so it is no way of the layer there."""
    inputs = [t.detach() for t in terms(size=(4, 6), dtype=torch.float32)]
    out = benchmark.flex(*inputs, attend=flex_attention)
    torch.testing.assert_close(out, _explicit.attend(*inputs), rtol=1e-5, atol=1e-5)


def test_the_benchmark_s_numbers():
    found = benchmark.memory("explicit", 12), benchmark.memory("blocks", 12)
    assert found[0]["kept"] - found[1]["kept"] > 8 * 4 * 144**2 * 4 / 2**20 * 0.7  # most of the weights, in MiB
    assert all(one["peak"] > 0 for one in found)


def test_an_unknown_way_is_named():
    with pytest.raises(BlendnetError, match="unknown attention path 'block'; did you mean 'blocks'"):
        layer("block")(image(1, 5, 4, 6))


@pytest.mark.parametrize("way", [None, *sorted(_paths.WAYS)])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(("size", "chosen"), [((4, 6), "explicit"), ((9, 11), "blocks")])
def test_the_layer_takes_the_way_it_is_told(way, grad, size, chosen, monkeypatch):
    taken = []
    for name, attend in _paths.WAYS.items():
        monkeypatch.setitem(_paths.WAYS, name, lambda *t, n=name, a=attend: taken.append(n) or a(*t))
    with torch.set_grad_enabled(grad):
        layer(way, map_size=size)(image(1, 5, *size))
    assert taken == [way or chosen]


@pytest.mark.parametrize("way", FAST)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_layers_agree_in_values_and_gradients(way, dtype):
    x = image(2, 5, 4, 6, dtype=dtype).requires_grad_()
    found = []
    for name in (way, "explicit"):
        one = layer(name, dtype)
        found.append([one(x), *gradients(lambda *_, one=one: one(x), [x, *one.parameters()])])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() < BOUNDS[dtype] * b.abs().max()


@pytest.mark.parametrize("way", sorted(_paths.WAYS))
def test_autocast(way):
    """bf16 in, bf16 out, weights' gradients float32; 8 bits of mantissa, some of them lost on the way."""
    exact, one, x = layer("explicit", torch.float64), layer(way), image(4, 5, 4, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = one(x)
    expected = exact(x.double())
    assert out.dtype == torch.bfloat16
    assert (out.double() - expected).abs().max() < 0.03 * expected.abs().max()
    out.float().square().sum().backward()
    expected.square().sum().backward()
    for (name, p), q in zip(one.named_parameters(), exact.parameters(), strict=True):
        assert p.grad.dtype == torch.float32
        assert (p.grad.double() - q.grad).norm() < 0.05 * q.grad.norm(), name


@pytest.mark.parametrize("way", sorted(_paths.WAYS))
def test_channels_last(way):
    one, x = layer(way), image(2, 5, 4, 6).requires_grad_()
    inputs = [x, *one.parameters()]
    expected = [one(x), *gradients(lambda *_: one(x), inputs)]
    one = one.to(memory_format=torch.channels_last)
    out = one(x.to(memory_format=torch.channels_last))
    assert out.is_contiguous(memory_format=torch.channels_last)
    found = [out, *gradients(lambda *_: one(x.to(memory_format=torch.channels_last)), [x, *one.parameters()])]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("way", sorted(_paths.WAYS))
@pytest.mark.parametrize("autocast", [False, True])
def test_compile(way, autocast):
    """One graph without breaks, forward and backward (backend aot_eager: the tracing without the C++ compiler)."""
    x = image(2, 5, 4, 6).requires_grad_()

    def run(call, parameters):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            out = call(x)
        return [out, *torch.autograd.grad(out.float().square().sum(), [x, *parameters])]

    one = layer(way)
    fast = torch.compile(one, fullgraph=True, backend="aot_eager")
    for a, b in zip(run(fast, one.parameters()), run(one, one.parameters()), strict=True):
        # In bf16 the compiled graph rounds in other places, to 8 bits of mantissa each.
        assert (a.float() - b.float()).norm() < (0.01 if autocast else 1e-5) * b.float().norm()


def test_compile_with_batches_of_changing_size():
    one = layer(map_size=(9, 11))
    fast = torch.compile(one, fullgraph=True, backend="aot_eager", dynamic=True)
    for batch in (2, 3, 5):
        x = image(batch, 5, 9, 11)
        torch.testing.assert_close(fast(x), one(x), rtol=1e-5, atol=1e-5)


def test_a_choice_that_asks_for_kernels_is_a_constant_of_a_compiled_graph():
    """As on a GPU, where the rule asks whether a fused kernel is there."""

    def run(x):
        way = "folded" if _fused.fits("cpu", x.dtype, 24, 8) else "blocks"
        return _paths.attend(way, *(t.to(x.dtype) for t in inputs))

    inputs = [t.detach() for t in terms()]
    x = torch.zeros(1, dtype=torch.float64)
    out = torch.compile(run, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(out, _explicit.attend(*inputs))


def test_a_compiled_graph_holds_the_blocks_as_one_operator(monkeypatch):
    """Unrolled, its graph would grow with the map, and its backward would keep what the loop made."""
    graphs = []

    def keep(graph, example_inputs):
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return graph.forward

    torch.compile(layer("blocks"), fullgraph=True, backend=keep)(image(1, 5, 4, 6))
    assert len(graphs) == 1
    assert sum("attend_blocks" in target for target in graphs[0]) == 1
    assert not any("softmax" in target for target in graphs[0])


def test_the_operators_are_described_to_pytorch_rightly():
    torch.library.opcheck(_blocks.attend, terms(1, 2, 2, 3, (2, 3)))
    inputs = [t.detach() for t in terms(1, 2, 2, 3, (2, 3))]
    torch.library.opcheck(_blocks._backward, (inputs[2], *inputs, inputs[2]))


def test_copies_and_checkpoints_of_a_layer():
    one, x = layer(), image(2, 5, 4, 6)
    twin = copy.deepcopy(one)
    assert torch.equal(twin(x), one(x))
    other = layer()
    nn.init.normal_(other.relative_h)
    assert not torch.equal(other(x), one(x))
    other.load_state_dict(one.state_dict())
    assert torch.equal(other(x), one(x))


def test_on_the_meta_device_shapes_come_out_and_nothing_is_computed():
    one = layer().to("meta")
    assert one(torch.zeros(2, 5, 4, 6, device="meta")).shape == (2, 20, 4, 6)


def test_maps_and_lesions_cost_nothing_when_not_asked_for():
    """What autograd keeps is the same before any map or lesion, and after; a lesion keeps no attention at all."""
    one, x = layer(map_size=(9, 11)), image(1, 5, 9, 11)
    fresh = kept(lambda: one(x))
    one.attention_map(x)
    one.lesion = "attention"
    lesioned = kept(lambda: one(x))
    one.lesion = None
    assert kept(lambda: one(x)) == fresh
    assert not any(shape[-2:] == (99, 99) for shape in fresh)
    assert not any(99 in shape for shape in lesioned)
