using LowLevelSpec.Models;
using ScottPlot;

namespace LowLevelSpec.Cli.Output.Plots;

/// <summary>
/// One diagram of lines or of grouped bars, saved as SVG or PNG by its file's ending. Drawn in memory with an embedded font, so it needs neither
/// a display nor installed fonts.
/// </summary>
internal sealed class Chart : IDisposable
{
    /// <summary>Pixels of a saved diagram.</summary>
    private const int Width = 900, Height = 540;

    private readonly Plot _plot = new();

    /// <param name="title">Above the diagram.</param>
    /// <param name="x">What the horizontal axis says.</param>
    /// <param name="y">What the vertical axis says.</param>
    public Chart(string title, string x, string y)
    {
        PlotFont.Use(_plot);
        _plot.Title(title);
        _plot.XLabel(x);
        _plot.YLabel(y);
        _plot.Legend.Alignment = Alignment.UpperRight;
    }

    /// <summary>A line through (xs[i], ys[i]); values that are not finite are left out.</summary>
    /// <param name="name">In the legend.</param>
    /// <param name="xs">Abscissae.</param>
    /// <param name="ys">Ordinates, as many.</param>
    /// <param name="markers">Whether points are marked: for few of them.</param>
    /// <returns>This chart.</returns>
    public Chart Line(string name, IReadOnlyList<double> xs, IReadOnlyList<double> ys, bool markers = false)
    {
        if (xs.Count != ys.Count)
        {
            throw new ArgumentException($"{xs.Count} abscissae and {ys.Count} ordinates", nameof(ys));
        }

        int[] finite = [.. Enumerable.Range(0, xs.Count).Where(i => double.IsFinite(xs[i]) && double.IsFinite(ys[i]))];
        ScottPlot.Plottables.Scatter line = _plot.Add.Scatter(finite.Select(i => xs[i]).ToArray(), finite.Select(i => ys[i]).ToArray());
        line.LegendText = name;
        line.LineWidth = 1.5f;
        line.MarkerSize = markers ? 6 : 0;
        return this;
    }

    /// <summary>Groups of bars from zero: group g has one bar of every series, named under it.</summary>
    /// <param name="groups">Names of the groups, under the axis.</param>
    /// <param name="series">Legend name and one value per group; NaN for no bar.</param>
    /// <returns>This chart.</returns>
    public Chart Bars(IReadOnlyList<string> groups, IReadOnlyList<(string Name, IReadOnlyList<double> Values)> series)
    {
        for (int s = 0; s < series.Count; s++)
        {
            if (series[s].Values.Count != groups.Count)
            {
                throw new ArgumentException($"{series[s].Values.Count} values of '{series[s].Name}' for {groups.Count} groups", nameof(series));
            }

            Color colour = _plot.Add.Palette.GetColor(s);
            double width = 0.8 / series.Count, shift = (s - ((series.Count - 1) / 2.0)) * width;
            Bar[] bars = [.. Enumerable.Range(0, groups.Count).Where(g => double.IsFinite(series[s].Values[g])).Select(g =>
                new Bar { Position = g + shift, Value = series[s].Values[g], Size = width * 0.95, FillColor = colour, LineWidth = 0 })];
            _plot.Add.Bars(bars).LegendText = series[s].Name;
        }

        _plot.Axes.Bottom.SetTicks([.. Enumerable.Range(0, groups.Count).Select(static g => (double)g)], [.. groups]);
        _plot.Axes.Margins(bottom: 0);
        return this;
    }

    /// <summary>Replaces <paramref name="path"/>, which ends in .svg or .png.</summary>
    /// <exception cref="InputException">It has another ending or can't be written.</exception>
    public void Save(string path)
    {
        byte[] bytes = Path.GetExtension(path).ToUpperInvariant() switch
        {
            ".SVG" => System.Text.Encoding.UTF8.GetBytes(_plot.GetSvgXml(Width, Height)),
            ".PNG" => _plot.GetImageBytes(Width, Height, ImageFormat.Png),
            string other => throw new InputException($"{path}: found the ending '{other}', expected .svg or .png"),
        };
        string part = path + ".part";
        try
        {
            File.WriteAllBytes(part, bytes);
            File.Move(part, path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new InputException($"{path}: can't be written: {FileProblem.Reason(e)}; choose another file", e);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _plot.Dispose();
}
