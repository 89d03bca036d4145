using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Sizes and types that theories run over.</summary>
public static class TestData
{
    /// <summary>Row lengths around the vector width, and those of models.</summary>
    public static TheoryData<int> Widths => [1, 2, 10, 15, 16, 17, 31, 32, 42, 72, 378, 576];

    /// <summary>Vocabulary sizes around the vector width and the summing block.</summary>
    public static TheoryData<int> Vocabularies => [1, 2, 15, 16, 17, 31, 100, 1023, 1025, 5000];

    /// <summary>All weight types.</summary>
    public static TheoryData<TensorType> AllTypes => new(StoredRows.Types);
}
