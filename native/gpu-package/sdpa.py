"""PyTorch's attention at the benchmark's shapes, for the kernel table: bf16, 32 heads, 8 kv heads of 128. Replayed as a CUDA graph, so that Python is not what is timed."""
import torch
import torch.nn.functional as F


def attention(q, k, v):
    try:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    except TypeError:  # before PyTorch 2.5
        return F.scaled_dot_product_attention(q, k.repeat_interleave(4, 1), v.repeat_interleave(4, 1))


for context in (1024, 4096):
    for rows in (1, 64):
        q = torch.randn(1, 32, rows, 128, device="cuda", dtype=torch.bfloat16)
        # A layer after the other, so that keys come from memory.
        layers = [torch.randn(2, 1, 8, context + rows, 128, device="cuda", dtype=torch.bfloat16) for _ in range(32)]

        def run():
            for k, v in layers:
                attention(q, k, v)

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                run()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            run()
        begun, done = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        times = []
        for _ in range(9):
            begun.record()
            graph.replay()
            done.record()
            done.synchronize()
            times.append(begun.elapsed_time(done) / len(layers) * 1e3)
        print(f"| PyTorch SDPA (no tree mask), {context} keys, {rows} rows | {sorted(times)[4]:.1f} us |")
