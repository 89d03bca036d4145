using CsCheck;

namespace LowLevelSpec.Engine.Tests.Sampling;

/// <summary>Generators for property tests.</summary>
internal static class Generators
{
    /// <summary>One of <paramref name="values"/>; repeat a value to make it likelier.</summary>
    public static Gen<T> Pick<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);
}
