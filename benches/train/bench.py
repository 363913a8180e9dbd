"""Measures PyTorch's trainer and ours on the same network in the same minutes, pass by pass in turn.

    bench.py BENCH_TRAIN_PROGRAM [STEPS] [PASSES] [BATCH INPUT HIDDEN OUTPUT]

Run with the interpreter that has torch. The network is the paper's (2048 to 4096 to 4096 to 16,384, erf GELU, mean squared
error, Adam 1e-4, float32, batch 64) unless other widths are given. PyTorch takes its steps twice: with Adam as it comes, and with
`fused=True`. Prints seconds per step, the share of matrix products, peak memory and ratios.
"""

import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import measure  # noqa: E402

THREADS = os.cpu_count()


def torch_worker(fused, batch, inputs, hidden, outputs):
    import torch

    torch.set_num_threads(THREADS)
    torch.manual_seed(1)
    widths = [inputs, hidden, hidden, outputs]
    layers = [torch.nn.Linear(a, b) for a, b in zip(widths, widths[1:])]
    model = torch.nn.Sequential(layers[0], torch.nn.GELU(), layers[1], torch.nn.GELU(), layers[2])
    adam = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fused)
    x, y = torch.randn(batch, inputs), torch.randn(batch, outputs)

    def step():
        adam.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x), y)
        loss.backward()
        adam.step()
        return loss

    step()

    def answer(order):
        _, report = measure.clocked(lambda: [step() for _ in range(int(order))])
        return report

    measure.serve(answer)


def main():
    program, *numbers = sys.argv[1:]
    steps, passes, *widths = [int(n) for n in numbers] or [5, 3]
    widths = [str(n) for n in widths or [64, 2048, 4096, 16384]]
    ours = [program, str(THREADS), *widths]
    theirs = [sys.executable, __file__, "--torch"]
    commands = {
        "laioncele": ours,
        "PyTorch, Adam": [*theirs, "plain", *widths],
        "PyTorch, Adam(fused=True)": [*theirs, "fused", *widths],
    }
    # One program at a time is in memory: three networks with their moments are several GB.
    seconds = {name: [] for name in commands}
    memory, products = {}, []
    for _ in range(passes):
        for name, command in commands.items():
            worker = measure.Worker(name, command)
            report = worker.ask(str(steps))
            worker.close()
            seconds[name].append(report["wall"] / steps)
            memory[name] = max(memory.get(name, 0), report["peak_memory"])
            if "products" in report:
                products.append(report["products"] / steps)
    first = statistics.median(seconds["laioncele"])
    print(f"{THREADS} threads, batch {widths[0]}, {' -> '.join([widths[1], widths[2], widths[2], widths[3]])}, {passes} passes of {steps} steps")
    for name, times in seconds.items():
        middle = statistics.median(times)
        print(f"{name}: {middle:.3f} s a step (lowest {min(times):.3f}), {memory[name] / 1e9:.2f} GB, {middle / first:.2f} times ours")
    print(f"our products alone: {statistics.median(products):.3f} s a step, {statistics.median(products) / first:.0%} of it")


if __name__ == "__main__":
    if sys.argv[1] == "--torch":
        torch_worker(sys.argv[2] == "fused", *(int(n) for n in sys.argv[3:]))
    else:
        main()
