using LowLevelSpec.Engine.Backends;
using LowLevelSpec.Models;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Backends;

/// <summary>Angles of rotary embedding.</summary>
public sealed class RopeTableTests
{
    /// <summary>Llama 3.1's numbers: high frequencies stay, low ones are divided by 8, those between are blended linearly in original length / wavelength.</summary>
    [Theory]
    [InlineData(64, 10000f, false)]
    [InlineData(128, 500000f, false)]
    [InlineData(128, 500000f, true)]
    [InlineData(42, 10000f, true)]
    public void Angles_follow_the_formula(int headSize, float theta, bool scaled)
    {
        RopeScaling scaling = new(8, 1, 4, 8192);
        RopeTable table = new(headSize, theta, scaled ? scaling : null);
        _ = table.Covering(3);
        (float[] cos, float[] sin) = table.Covering(1000);
        HashSet<int> bands = [];
        for (int i = 0; i < headSize / 2; i++)
        {
            double frequency = Math.Pow(theta, -2.0 * i / headSize), turns = 8192 * frequency / (2 * Math.PI), blend = Math.Clamp((turns - 1) / 3, 0, 1);
            bands.Add(blend is 0 ? 0 : blend is 1 ? 1 : 2);
            frequency = scaled ? frequency * (blend + ((1 - blend) / 8)) : frequency;
            foreach (int position in new[] { 0, 1, 7, 999 })
            {
                // The angle is rounded to f32 as a product of a rounded frequency: a few units of the angle.
                double tolerance = 1e-7 + (4e-7 * position * frequency);
                Assert.Equal(Math.Cos(position * frequency), cos[(position * headSize / 2) + i], tolerance);
                Assert.Equal(Math.Sin(position * frequency), sin[(position * headSize / 2) + i], tolerance);
            }
        }

        Assert.True(headSize < 128 || bands.Count == 3);
    }
}
