"""PyTorch's attention at the benchmark's shapes, for the kernel table: bf16, 32 heads, 8 kv heads of 128."""
import torch
import torch.nn.functional as F

for context in (1024, 4096):
    for rows in (1, 64):
        q = torch.randn(1, 32, rows, 128, device="cuda", dtype=torch.bfloat16)
        # A layer after the other, so that keys come from memory.
        layers = [torch.randn(2, 1, 8, context + rows, 128, device="cuda", dtype=torch.bfloat16) for _ in range(32)]

        def run():
            for k, v in layers:
                F.scaled_dot_product_attention(q, k, v, enable_gqa=True)

        for _ in range(3):
            run()
        begun, done = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        times = []
        for _ in range(9):
            begun.record()
            run()
            done.record()
            done.synchronize()
            times.append(begun.elapsed_time(done) / len(layers) * 1e3)
        print(f"| PyTorch SDPA (no tree mask), {context} keys, {rows} rows | {sorted(times)[4]:.1f} us |")
