using LowLevelSpec.Models;

namespace LowLevelSpec.Engine.Backends;

/// <summary>
/// Cosines and sines of rotary position embedding, f32, [positions, D/2]: angle = position * inverse frequency, both rounded to f32
/// as the reference does (Hugging Face LlamaRotaryEmbedding; llama3 scaling as in Llama 3.1's release).
/// Pairs are (i, i + D/2), Hugging Face's rotate_half. Grows on demand; growth is thread-safe, readers never block.
/// </summary>
public sealed class RopeTable
{
    private readonly float[] _inverseFrequencies;
    private readonly Lock _growth = new();
    private volatile Tables _tables = new([], [], 0);

    /// <summary>Creates an empty table.</summary>
    /// <param name="headSize">D, even.</param>
    /// <param name="theta">RoPE base.</param>
    /// <param name="scaling">llama3 scaling, or null for plain RoPE.</param>
    public RopeTable(int headSize, float theta, RopeScaling? scaling)
    {
        HeadSize = headSize;
        _inverseFrequencies = new float[headSize / 2];
        for (int i = 0; i < _inverseFrequencies.Length; i++)
        {
            float frequency = 1f / MathF.Pow(theta, 2 * i / (float)headSize);
            _inverseFrequencies[i] = scaling is null ? frequency : Scale(frequency, scaling);
        }
    }

    /// <summary>D.</summary>
    public int HeadSize { get; }

    /// <summary>The tables, covering at least <paramref name="positions"/> positions.</summary>
    /// <returns>Cosines and sines, row-major [positions, D/2]. The arrays are never changed after they are handed out.</returns>
    public (float[] Cos, float[] Sin) Covering(int positions)
    {
        Tables tables = _tables;
        if (tables.Positions < positions)
        {
            lock (_growth)
            {
                tables = _tables;
                if (tables.Positions < positions)
                {
                    _tables = tables = Build(Math.Max(positions, tables.Positions * 2));
                }
            }
        }

        return (tables.Cos, tables.Sin);
    }

    private Tables Build(int positions)
    {
        int half = _inverseFrequencies.Length;
        float[] cos = new float[(long)positions * half], sin = new float[(long)positions * half];
        for (int p = 0; p < positions; p++)
        {
            for (int i = 0; i < half; i++)
            {
                float angle = p * _inverseFrequencies[i];
                (double s, double c) = Math.SinCos(angle);
                cos[(p * half) + i] = (float)c;
                sin[(p * half) + i] = (float)s;
            }
        }

        return new Tables(cos, sin, positions);
    }

    private static float Scale(float frequency, RopeScaling s)
    {
        float wavelength = 2 * MathF.PI / frequency;
        float low = s.OriginalContextLength / s.LowFrequencyFactor, high = s.OriginalContextLength / s.HighFrequencyFactor;
        if (wavelength < high)
        {
            return frequency;
        }

        if (wavelength > low)
        {
            return frequency / s.Factor;
        }

        float smooth = ((s.OriginalContextLength / wavelength) - s.LowFrequencyFactor) / (s.HighFrequencyFactor - s.LowFrequencyFactor);
        return ((1 - smooth) * frequency / s.Factor) + (smooth * frequency);
    }

    private sealed record Tables(float[] Cos, float[] Sin, int Positions);
}
