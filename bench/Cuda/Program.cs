using LowLevelSpec.CudaBench;
using LowLevelSpec.Engine;
using LowLevelSpec.Engine.Backends.Cuda;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Models;

// Measures the CUDA backend and prints one table. Usage: [--device cuda|emulated] [--shape llama-3-8b|tiny] [--model DIR --drafter DIR]
Dictionary<string, string> options = new(StringComparer.Ordinal) { ["--device"] = "cuda", ["--shape"] = "llama-3-8b" };
for (int i = 0; i < args.Length; i += 2)
{
    if (i + 1 == args.Length || args[i] is not ("--device" or "--shape" or "--model" or "--drafter"))
    {
        Console.Error.WriteLine($"found '{args[i]}', expected --device, --shape, --model or --drafter with a value");
        return 2;
    }

    options[args[i]] = args[i + 1];
}

try
{
    ResultTable table = new();
    using (CudaBackend backend = (CudaBackend?)CudaDevices.Open(options["--device"], PrefillProducts.Auto) ?? throw new InputException("--device: found 'cpu', expected cuda, cuda:N or emulated"))
    {
        RandomModel model = RandomModel.Create(options["--shape"]);
        table.Title = $"{options["--shape"]}, bf16, random weights, batch 1, {backend.Name}{(options["--device"] == "emulated" ? " (no clock: the device's figures mean nothing)" : "")}";
        double bandwidth = CopyMeasurement.Run(backend, model.IsTiny, table);
        KernelMeasurements.Run(backend, model, bandwidth, table);
        PrefillMeasurements.Run(backend, model, table);
        CycleMeasurements.Run(backend, model, bandwidth, table);
    }

    if (options.TryGetValue("--model", out string? path))
    {
        RealModel.Run(path, options.GetValueOrDefault("--drafter"), options["--device"], table);
    }

    table.Print();
    return 0;
}
catch (InputException e)
{
    Console.Error.WriteLine(e.Message);
    return 1;
}
