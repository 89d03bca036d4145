using System.Globalization;
using System.Text;
using OpenTelemetry;
using OpenTelemetry.Metrics;

namespace LowLevelSpec.Remote.Server;

/// <summary>The server's metrics as text in Prometheus' exposition format, collected through OpenTelemetry when asked for. Thread-safe.</summary>
internal sealed class MetricsPage : IDisposable
{
    private readonly Lock _lock = new();
    private readonly TextExporter _exporter = new();
    private readonly BaseExportingMetricReader _reader;
    private readonly MeterProvider _provider;

    public MetricsPage()
    {
        _reader = new BaseExportingMetricReader(_exporter);
        _provider = Sdk.CreateMeterProviderBuilder().AddMeter(ServerMetrics.MeterName).AddReader(_reader).Build();
    }

    /// <summary>Everything now.</summary>
    public string Read()
    {
        lock (_lock)
        {
            _reader.Collect();
            return _exporter.Text;
        }
    }

    public void Dispose()
    {
        _provider.Dispose();
        _reader.Dispose();
        _exporter.Dispose();
    }

    // Pull alone is reserved to OpenTelemetry's own exporters; nothing pushes here either, as the reader collects only when asked.
    [ExportModes(ExportModes.Push | ExportModes.Pull)]
    private sealed class TextExporter : BaseExporter<Metric>
    {
        public string Text { get; private set; } = "";

        public override ExportResult Export(in Batch<Metric> batch)
        {
            StringBuilder text = new();
            foreach (Metric metric in batch)
            {
                Write(text, metric);
            }

            Text = text.ToString();
            return ExportResult.Success;
        }

        private static void Write(StringBuilder text, Metric metric)
        {
            string name = metric.Name.Replace('.', '_');
            string kind = metric.MetricType is MetricType.LongSum or MetricType.DoubleSum ? "counter" : metric.MetricType == MetricType.Histogram ? "histogram" : "gauge";
            text.Append("# HELP ").Append(name).Append(' ').AppendLine(metric.Description);
            text.Append("# TYPE ").Append(name).Append(' ').AppendLine(kind);
            foreach (ref readonly MetricPoint point in metric.GetMetricPoints())
            {
                string tags = Tags(point);
                switch (metric.MetricType)
                {
                    case MetricType.LongSum:
                        Line(text, name, tags, point.GetSumLong());
                        break;
                    case MetricType.DoubleSum:
                        Line(text, name, tags, point.GetSumDouble());
                        break;
                    case MetricType.LongGauge:
                        Line(text, name, tags, point.GetGaugeLastValueLong());
                        break;
                    case MetricType.DoubleGauge:
                        Line(text, name, tags, point.GetGaugeLastValueDouble());
                        break;
                    case MetricType.Histogram:
                        WriteHistogram(text, name, point);
                        break;
                    default:
                        break;
                }
            }
        }

        private static void WriteHistogram(StringBuilder text, string name, in MetricPoint point)
        {
            long below = 0;
            foreach (HistogramBucket bucket in point.GetHistogramBuckets())
            {
                below += bucket.BucketCount;
                string bound = double.IsPositiveInfinity(bucket.ExplicitBound) ? "+Inf" : bucket.ExplicitBound.ToString(CultureInfo.InvariantCulture);
                Line(text, $"{name}_bucket", $"{{le=\"{bound}\"}}", below);
            }

            Line(text, $"{name}_sum", "", point.GetHistogramSum());
            Line(text, $"{name}_count", "", point.GetHistogramCount());
        }

        private static string Tags(in MetricPoint point)
        {
            List<string> tags = [];
            foreach (KeyValuePair<string, object?> tag in point.Tags)
            {
                tags.Add($"{tag.Key}=\"{tag.Value}\"");
            }

            return tags.Count == 0 ? "" : $"{{{string.Join(',', tags)}}}";
        }

        private static void Line(StringBuilder text, string name, string tags, double value) =>
            text.Append(name).Append(tags).Append(' ').AppendLine(value.ToString(CultureInfo.InvariantCulture));
    }
}
