namespace LowLevelSpec.Training.Optimisation;

/// <summary>Learning rate by step, counted from 0.</summary>
public abstract record LearningRateSchedule
{
    /// <summary>Rate of step <paramref name="step"/>.</summary>
    public abstract double Rate(int step);
}

/// <summary>
/// The reference's zero_peak_constant_scheduler: linear from 0 to the peak (20 times the base, 6e-4 for 3e-5) over the warm-up, linear down to the base, constant.
/// </summary>
/// <param name="Base">Rate at the end.</param>
/// <param name="WarmUpSteps">Steps up.</param>
/// <param name="DecaySteps">Steps down: an epoch's.</param>
/// <param name="PeakFactor">Peak in units of the base.</param>
public sealed record PeakSchedule(double Base, int WarmUpSteps, int DecaySteps, double PeakFactor = 20) : LearningRateSchedule
{
    /// <inheritdoc/>
    public override double Rate(int step)
    {
        if (step < WarmUpSteps)
        {
            return Base * PeakFactor * step / WarmUpSteps;
        }

        int down = step - WarmUpSteps;
        return down >= DecaySteps ? Base : Base * (PeakFactor - ((PeakFactor - 1) * down / DecaySteps));
    }
}

/// <summary>Linear from 0 over the warm-up, then half a cosine down to a share of the peak, constant.</summary>
/// <param name="Peak">Largest rate.</param>
/// <param name="WarmUpSteps">Steps up.</param>
/// <param name="TotalSteps">Steps in all.</param>
/// <param name="FinalShare">Rate at the end, in units of the peak.</param>
public sealed record CosineSchedule(double Peak, int WarmUpSteps, int TotalSteps, double FinalShare = 0.03) : LearningRateSchedule
{
    /// <inheritdoc/>
    public override double Rate(int step)
    {
        if (step < WarmUpSteps)
        {
            return Peak * (step + 1) / (WarmUpSteps + 1);
        }

        double way = Math.Min(1, (step - WarmUpSteps) / (double)Math.Max(1, TotalSteps - WarmUpSteps));
        return Peak * (FinalShare + ((1 - FinalShare) * 0.5 * (1 + Math.Cos(Math.PI * way))));
    }
}
