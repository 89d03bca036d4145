using System.Text;
using LowLevelSpec.Cli.Output.Plots;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Cli.Tests;

/// <summary>Plots have their lines, bars and text, without a display or installed fonts.</summary>
public sealed class ChartTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("llspec-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void A_line_chart_is_an_svg_with_text_and_a_path()
    {
        string path = Path.Combine(_folder, "a.svg");
        using (Chart chart = new("Training", "step", "loss"))
        {
            chart.Line("loss", [0, 1, 2], [3, double.NaN, 1]).Save(path);
        }

        string svg = File.ReadAllText(path);
        Assert.Contains("<svg", svg);
        Assert.Contains("<text", svg);
        Assert.Contains("<path", svg);
        Assert.Contains("DejaVu Sans", svg);
        Assert.False(File.Exists(path + ".part"));
    }

    [Fact]
    public void A_bar_chart_is_a_png()
    {
        string path = Path.Combine(_folder, "a.png");
        using Chart chart = new("Sets", "set", "tau");
        chart.Bars(["qa", "sum"], [("moa", [2.0, 1.5]), ("eagle", [1.8, double.NaN])]).Save(path);
        byte[] bytes = File.ReadAllBytes(path);
        Assert.Equal("PNG", Encoding.ASCII.GetString(bytes, 1, 3));
        Assert.True(bytes.Length > 4000, $"{bytes.Length} bytes");
    }

    [Fact]
    public void The_text_changes_the_picture()
    {
        List<byte[]> pictures = [];
        foreach (string title in (string[])["Training", "TRAINING"])
        {
            string path = Path.Combine(_folder, title + ".png");
            using Chart chart = new(title, "step", "loss");
            chart.Line("loss", [0, 1], [3, 1]).Save(path);
            pictures.Add(File.ReadAllBytes(path));
        }

        Assert.NotEqual(pictures[0], pictures[1]);
    }

    [Fact]
    public void Other_endings_and_folders_that_are_not_there_are_refused()
    {
        using Chart chart = new("Training", "step", "loss");
        Assert.Contains(".svg or .png", Assert.Throws<InputException>(() => chart.Save(Path.Combine(_folder, "a.jpg"))).Message);
        Assert.Throws<InputException>(() => chart.Save(Path.Combine(_folder, "none", "a.svg")));
    }
}
