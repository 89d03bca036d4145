using System.Text;
using CsCheck;
using LowLevelSpec.Engine.Sampling;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Sampling;

public sealed class StopStringMatcherTests
{
    /// <summary>Two letters make overlaps and near misses common.</summary>
    private static readonly Gen<string> Texts = Gen.Char["ab"].Array[0, 30].Select(letters => new string(letters));

    private static readonly Gen<string> Stops = Gen.Char["ab"].Array[1, 5].Select(letters => new string(letters));

    [Fact]
    public void Output_EqualsTheTextCutAtTheFirstCompletion_HoweverItIsSplit()
        => Gen.Select(Texts, Stops.Array[0, 3], Gen.Int[1, 6].Array[30]).Sample((text, stops, lengths) =>
        {
            (string expected, bool matched) = Cut(text, stops);
            StopStringMatcher matcher = new(stops);
            StringBuilder output = new();
            int at = 0;
            foreach (int length in lengths)
            {
                string piece = text.Substring(at, Math.Min(length, text.Length - at));
                at += piece.Length;
                output.Append(matcher.Push(piece));
                Assert.Equal(Cut(text[..at], stops).Matched, matcher.Matched);

                // What is given out is a prefix of the result at any time, and nothing is held back without need.
                Assert.StartsWith(output.ToString(), expected, StringComparison.Ordinal);
                if (!matcher.Matched)
                {
                    Assert.Equal(at - LongestBeginning(text[..at], stops), output.Length);
                }
            }

            output.Append(matcher.Push(text[at..]));
            output.Append(matcher.Flush());
            Assert.Equal(expected, output.ToString());
            Assert.Equal(matched, matcher.Matched);
        }, iter: 5000);

    [Fact]
    public void Push_HoldsBackABeginning_AndReleasesItOnAMismatch()
    {
        StopStringMatcher matcher = new(["###"]);
        Assert.Equal("a", matcher.Push("a#"));
        Assert.Equal("", matcher.Push("#"));
        Assert.Equal("##b", matcher.Push("b"));
        Assert.False(matcher.Matched);
        Assert.Equal("", matcher.Push("##"));
        Assert.Equal("##", matcher.Flush());
    }

    [Fact]
    public void Push_AfterAMatch_GivesNothing()
    {
        StopStringMatcher matcher = new(["\n\n"]);
        Assert.Equal("line", matcher.Push("line\n\nmore"));
        Assert.True(matcher.Matched);
        Assert.Equal("", matcher.Push("more"));
        Assert.Equal("", matcher.Flush());
    }

    [Fact]
    public void Match_IsTheOneThatCompletesFirst_EvenIfAnotherStartsEarlier()
    {
        StopStringMatcher matcher = new(["abcd", "bc"]);
        Assert.Equal("xa", matcher.Push("xabcd"));
        Assert.True(matcher.Matched);
    }

    [Fact]
    public void Match_OfSeveralThatCompleteTogether_IsTheOneThatStartsFirst()
    {
        StopStringMatcher matcher = new(["bc", "abc", "c"]);
        Assert.Equal("x", matcher.Push("xabc"));
    }

    [Fact]
    public void Push_NeverSplitsASurrogatePair()
    {
        StopStringMatcher matcher = new(["😀"]);
        Assert.Equal("😁", matcher.Push("😁"));
        Assert.Equal("b", matcher.Push("b😀"));
        Assert.True(matcher.Matched);
    }

    [Fact]
    public void WithoutStopStrings_EverythingPasses()
    {
        StopStringMatcher matcher = new([]);
        Assert.Equal("abc", matcher.Push("abc"));
        Assert.Equal("", matcher.Flush());
        Assert.Throws<InvalidOperationException>(() => matcher.Push("d"));
    }

    [Fact]
    public void UnusableStopStrings_AreRefused()
    {
        foreach (string stop in (string[])["", "a\ud83d", "\ude00a", "\ud83da"])
        {
            InputException exception = Assert.Throws<InputException>(() => new StopStringMatcher(["ok", stop]));
            Assert.StartsWith("Stop string 2 of 2", exception.Message, StringComparison.Ordinal);
        }
    }

    private static (string Text, bool Matched) Cut(string text, string[] stops)
    {
        for (int end = 1; end <= text.Length; end++)
        {
            string[] complete = [.. stops.Where(stop => text[..end].EndsWith(stop, StringComparison.Ordinal))];
            if (complete.Length > 0)
            {
                return (text[..(end - complete.Max(stop => stop.Length))], true);
            }
        }

        return (text, false);
    }

    private static int LongestBeginning(string text, string[] stops)
        => Enumerable.Range(0, text.Length + 1).Last(n => n == 0 || stops.Any(stop => stop.StartsWith(text[^n..], StringComparison.Ordinal)));
}
