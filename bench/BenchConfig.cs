using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Reports;
using BenchmarkDotNet.Running;
using LowLevelSpec.Engine.Backends;

namespace LowLevelSpec.Bench;

/// <summary>A benchmark class that knows what one call touches and computes.</summary>
public interface IDeclaresCost
{
    /// <summary>Cost of one call with the class's current parameters.</summary>
    OperationCost Cost { get; }

    /// <summary>Whether the operations are integer ones.</summary>
    bool IsInteger => false;

    /// <summary>Threads that share the call.</summary>
    int Threads => 1;
}

/// <summary>Short in-process runs with allocation counts and, for operations that declare their cost, achieved GB/s and GFLOP/s.</summary>
internal static class BenchConfig
{
    public static IConfig Create() => DefaultConfig.Instance
        .AddJob(Job.Default.WithWarmupCount(3).WithIterationCount(9).WithId("short"))
        .AddDiagnoser(new MemoryDiagnoser(new MemoryDiagnoserConfig(displayGenColumns: false)))
        .AddColumn(StatisticColumn.Median, new RateColumn("GB/s", static c => c.Bytes), new RateColumn("GFLOP/s", static c => c.Flops), new ShareColumn());

    /// <summary>What the operation declares with a case's parameters, and its median time in nanoseconds; null where it declares nothing.</summary>
    private static (IDeclaresCost Operation, double Nanoseconds)? Declared(Summary summary, BenchmarkCase benchmarkCase)
    {
        double? nanoseconds = summary[benchmarkCase]?.ResultStatistics?.Median;
        if (nanoseconds is null || Activator.CreateInstance(benchmarkCase.Descriptor.Type) is not IDeclaresCost operation)
        {
            return null;
        }

        foreach (var parameter in benchmarkCase.Parameters.Items)
        {
            benchmarkCase.Descriptor.Type.GetProperty(parameter.Name)?.SetValue(operation, parameter.Value);
        }

        return (operation, nanoseconds.Value);
    }

    /// <summary>A column computed from what an operation declares.</summary>
    private abstract class CostColumn(string name, string legend) : IColumn
    {
        public string Id => name;

        public string ColumnName => name;

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public string Legend => legend;

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase) =>
            Declared(summary, benchmarkCase) is var (operation, nanoseconds) ? Value(operation, nanoseconds) : "-";

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

        public bool IsAvailable(Summary summary) => true;

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;

        /// <summary>The cell.</summary>
        protected abstract string Value(IDeclaresCost operation, double nanoseconds);
    }

    /// <summary>Declared units of a call divided by its median time.</summary>
    private sealed class RateColumn(string name, Func<OperationCost, long> units) : CostColumn(name, $"{name} from the operation's declared cost and the median time")
    {
        protected override string Value(IDeclaresCost operation, double nanoseconds) => (units(operation.Cost) / nanoseconds).ToString("F1");
    }

    /// <summary>
    /// The time that the binding limit allows, memory or arithmetic of one thread (times the threads for arithmetic), over the median time. Above
    /// 100 % where the data fit a cache.
    /// </summary>
    private sealed class ShareColumn() : CostColumn("of limit", "time at the read bandwidth or at the arithmetic peak of 256 bits, the longer one, over the median time; both measured in this run")
    {
        protected override string Value(IDeclaresCost operation, double nanoseconds)
        {
            double peak = operation.Threads * (operation.IsInteger ? Limits.IntegersPerSecond : Limits.FlopsPerSecond);
            double best = Math.Max(operation.Cost.Bytes / Limits.BytesPerSecond, operation.Cost.Flops / peak);
            return (best * 1e9 / nanoseconds).ToString("P0");
        }
    }
}
