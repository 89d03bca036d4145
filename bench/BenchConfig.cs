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
}

/// <summary>Short in-process runs with allocation counts and, for operations that declare their cost, achieved GB/s and GFLOP/s.</summary>
internal static class BenchConfig
{
    public static IConfig Create() => DefaultConfig.Instance
        .AddJob(Job.Default.WithWarmupCount(3).WithIterationCount(9).WithId("short"))
        .AddDiagnoser(new MemoryDiagnoser(new MemoryDiagnoserConfig(displayGenColumns: false)))
        .AddColumn(StatisticColumn.Median, new RateColumn("GB/s", static c => c.Bytes), new RateColumn("GFLOP/s", static c => c.Flops));

    /// <summary>Declared units of a call divided by its median time.</summary>
    private sealed class RateColumn(string name, Func<OperationCost, long> units) : IColumn
    {
        public string Id => name;

        public string ColumnName => name;

        public bool AlwaysShow => true;

        public ColumnCategory Category => ColumnCategory.Custom;

        public int PriorityInCategory => 0;

        public bool IsNumeric => true;

        public UnitType UnitType => UnitType.Dimensionless;

        public string Legend => $"{name} from the operation's declared cost and the median time";

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase)
        {
            double? nanoseconds = summary[benchmarkCase]?.ResultStatistics?.Median;
            if (nanoseconds is null || Activator.CreateInstance(benchmarkCase.Descriptor.Type) is not IDeclaresCost operation)
            {
                return "-";
            }

            foreach (var parameter in benchmarkCase.Parameters.Items)
            {
                benchmarkCase.Descriptor.Type.GetProperty(parameter.Name)?.SetValue(operation, parameter.Value);
            }

            return (units(operation.Cost) / nanoseconds.Value).ToString("F1");
        }

        public string GetValue(Summary summary, BenchmarkCase benchmarkCase, SummaryStyle style) => GetValue(summary, benchmarkCase);

        public bool IsAvailable(Summary summary) => true;

        public bool IsDefault(Summary summary, BenchmarkCase benchmarkCase) => false;
    }
}
