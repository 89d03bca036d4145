namespace LowLevelSpec.Engine.Backends;

/// <summary>Owns the activation matrices of one pass or session: allocated once, freed together.</summary>
internal sealed class Activations(IBackend backend) : IDisposable
{
    private readonly List<TensorBuffer> _buffers = [];

    /// <summary>Allocates a dense [rows, columns] matrix, zeroed.</summary>
    public Matrix Allocate(int rows, int columns, string purpose)
    {
        TensorBuffer buffer = backend.Allocate((long)rows * columns, purpose);
        _buffers.Add(buffer);
        return new Matrix(buffer, 0, rows, columns, columns);
    }

    public void Dispose()
    {
        foreach (TensorBuffer buffer in _buffers)
        {
            buffer.Dispose();
        }

        _buffers.Clear();
    }
}
