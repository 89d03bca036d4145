using ScottPlot;
using SkiaSharp;

namespace LowLevelSpec.Cli.Output.Plots;

/// <summary>The font of all plots: embedded, so that they look the same on every machine, and have their text where no font is installed.</summary>
internal sealed class PlotFont : IFontResolver
{
    private const string Family = "DejaVu Sans";

    private static readonly Lazy<byte[]> s_file = new(Read);
    private static readonly Lazy<bool> s_registered = new(Register);

    /// <summary>Gives a plot's title, axes and legend this font.</summary>
    public static void Use(Plot plot)
    {
        _ = s_registered.Value;
        plot.Font.Set(Family);
        plot.Legend.FontName = Family;
    }

    /// <inheritdoc/>
    public SKTypeface? CreateTypeface(string fontName, FontWeight weight, FontSlant slant, FontSpacing spacing) => Open(fontName);

    /// <inheritdoc/>
    public SKTypeface? CreateTypeface(string fontName, bool bold, bool italic) => Open(fontName);

    private static SKTypeface? Open(string name)
    {
        if (name != Family)
        {
            return null;
        }

        using SKData data = SKData.CreateCopy(s_file.Value);
        return SKTypeface.FromData(data);
    }

    private static byte[] Read()
    {
        using Stream stream = typeof(PlotFont).Assembly.GetManifestResourceStream("PlotFont.ttf")!;
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static bool Register()
    {
        Fonts.FontResolvers.Insert(0, new PlotFont());
        return true;
    }
}
