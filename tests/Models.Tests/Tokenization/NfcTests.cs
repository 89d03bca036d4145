using CsCheck;
using Xunit;

namespace LowLevelSpec.Models.Tests.Tokenization;

public class NfcTests
{
    [Theory]
    [InlineData("", "")]
    [InlineData("plain ASCII", "plain ASCII")]
    [InlineData("e\u0301", "\u00E9")]
    [InlineData("A\u030A \u212B \u00C5", "\u00C5 \u00C5 \u00C5")]
    [InlineData("q\u0307\u0323", "q\u0323\u0307")]
    [InlineData("a\u0323\u0307", "\u1EA1\u0307")]
    [InlineData("\u1E0A\u0323", "\u1E0C\u0307")]
    [InlineData("\u1100\u1161\u11A8", "\uAC01")]
    [InlineData("\uAC00\u11A8", "\uAC01")]
    [InlineData("\u0958", "\u0915\u093C")]
    [InlineData("\uFB1D", "\u05D9\u05B4")]
    [InlineData("\uF900", "\u8C48")]
    [InlineData("\uD834\uDD5E", "\uD834\uDD57\uD834\uDD65")]
    [InlineData("\uD804\uDC99\uD804\uDCBA", "\uD804\uDC9A")]
    [InlineData("\u0344", "\u0308\u0301")]
    [InlineData("a\u0301\u0301", "\u00E1\u0301")]
    [InlineData("\u03B1\u0345\u0301", "\u1FB4")]
    [InlineData("\u0301e", "\u0301e")]
    [InlineData("ﬁ½", "ﬁ½")]
    public void Text_is_composed(string text, string expected) => Assert.Equal(expected, NfcNormalizer.Normalize(text));

    [Fact]
    public void Composed_text_stays() => TokenizerPropertyTests.Text.Sample(text =>
    {
        var once = NfcNormalizer.Normalize(text);
        return ReferenceEquals(once, NfcNormalizer.Normalize(once));
    });

    [Fact]
    public void Long_runs_of_marks_complete()
    {
        var marks = string.Concat(Enumerable.Repeat("\u0301\u0323", 200_000));
        var normal = NfcNormalizer.Normalize("a" + marks);
        Assert.Equal(2 * 200_000, normal.Length);
        Assert.StartsWith("\u1EA1\u0323", normal, StringComparison.Ordinal);
    }
}
