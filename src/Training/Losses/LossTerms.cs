namespace LowLevelSpec.Training.Losses;

/// <summary>How the terms are weighed. The authors: 0.1 forward KL + SmoothL1 of the final states; with target layer inference half of it at the input of layer L-N.</summary>
/// <param name="ForwardKl">Weight of the cross entropy to the target's distribution.</param>
/// <param name="Feature">Weight of SmoothL1 at the final hidden state.</param>
/// <param name="PreviousFeature">Weight of SmoothL1 at the input of layer L-N.</param>
/// <param name="Alignment">Weight of SmoothL1 between what cross-attention reads of a token (the output of Ekv2E) and the target's final hidden state there, over all positions: gives LSA something to say before CA listens. Not in the paper.</param>
/// <param name="Temperature">Both distributions of the cross entropy are softmax(logits / this): 1 is the paper's; below 1 the most likely tokens weigh more, which greedy verification goes by. Above 0.</param>
public sealed record LossWeights(double ForwardKl, double Feature, double PreviousFeature, double Alignment = 0, double Temperature = 1)
{
    /// <summary>The paper's weights (section 3 of the design notes; reference trainer `total`).</summary>
    public static LossWeights Paper(int targetLayers) => targetLayers == 0 ? new(0.1, 1, 0) : new(0.1, 0.5, 0.5);

    /// <summary>Cross entropy first: learns acceptance faster on small budgets.</summary>
    public static LossWeights Kl(int targetLayers) => new(1, 0.1, targetLayers == 0 ? 0 : 0.1);
}

/// <summary>Losses of a batch, over its response positions: sums divided by (their number + 1e-5), as the authors do.</summary>
/// <param name="Total">The weighed sum: what gradients are of.</param>
/// <param name="ForwardKl">Cross entropy -sum q log p, q the target's distribution, both at <see cref="LossWeights.Temperature"/>; its entropy is not subtracted.</param>
/// <param name="Feature">SmoothL1 (beta 1, mean over E) between predicted and the target's final hidden state.</param>
/// <param name="PreviousFeature">The same at the input of layer L-N; 0 without target layer inference.</param>
/// <param name="Alignment">SmoothL1 of what cross-attention reads; 0 where it has no weight or the drafter no such state.</param>
/// <param name="Entropy">The mean entropy of q: ForwardKl less this is the divergence itself.</param>
/// <param name="Positions">Response positions of the cross entropy.</param>
/// <param name="Hits">Positions where drafter and target have the same most likely token, by horizon.</param>
/// <param name="Counts">Positions by horizon.</param>
public sealed record LossTerms(
    double Total, double ForwardKl, double Feature, double PreviousFeature, double Alignment, double Entropy, int Positions, IReadOnlyList<int> Hits, IReadOnlyList<int> Counts);
