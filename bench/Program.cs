using BenchmarkDotNet.Running;

// `./build.sh bench` asks which; `./build.sh bench --filter '*MatMul*'` runs some; `--list flat` names them.
BenchmarkSwitcher.FromAssembly(typeof(Program).Assembly).Run(args.Length == 0 ? ["--filter", "*"] : args, LowLevelSpec.Bench.BenchConfig.Create());
