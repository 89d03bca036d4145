using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Sampling;

namespace LowLevelSpec.Engine.Backends;

/// <summary>The passes of a cycle, by the rows they run over. P: verified tokens; the root is the last committed token, at position P.</summary>
internal enum CycleRows
{
    /// <summary>The tree's nodes in the target's cache.</summary>
    Verify,

    /// <summary>Committed tokens that the drafter's own cache lacks, the root last.</summary>
    CatchUp,

    /// <summary>The root as a query over the verified tokens.</summary>
    LastQuery,

    /// <summary>The frontier's nodes in the drafter's own cache.</summary>
    Frontier,

    /// <summary>The frontier's nodes as queries over the verified tokens.</summary>
    Query,

    /// <summary>Tokens that the cycle has just verified.</summary>
    Observed,

    /// <summary>The root in the target's cache, for target layer inference.</summary>
    TargetRoot,

    /// <summary>The frontier's nodes in the target's cache, for target layer inference.</summary>
    TargetFrontier,

    /// <summary>Features of verified tokens that EAGLE's cache lacks, each with the token after it.</summary>
    Features,

    /// <summary>The frontier's nodes in EAGLE's cache.</summary>
    FeatureFrontier,

    /// <summary>The same with the mask of the reference code (<see cref="DrafterOptions.AlignedEagleMask"/>).</summary>
    FeatureReference,
}

/// <summary>A backend that runs whole cycles by itself: rows, trees and acceptance are its own work, and the host waits once per cycle.</summary>
internal interface ICycleBackend : IBackend
{
    /// <summary>Memory for the cycles of one generation.</summary>
    /// <param name="tree">Shape of its trees.</param>
    /// <param name="scoredTokens">Columns of the drafter's logits.</param>
    /// <param name="columnTokens">Token of each of them where the draft head is trimmed; null = its own number.</param>
    /// <param name="sampling">How tokens are chosen; without penalties, which depend on tokens that the host counts.</param>
    ICyclePlan CreateCycle(TreeSettings tree, int scoredTokens, int[]? columnTokens, SamplingOptions sampling);
}

/// <summary>
/// What a cycle does beside the operations of <see cref="IBackend"/>, as work of the device. The calls between <see cref="Record"/>'s begin and end are
/// recorded once, with the most rows that any cycle has; the device counts the rows of each cycle itself.
/// </summary>
internal interface ICyclePlan : IDisposable
{
    /// <summary>Where the generation stands before the first cycle.</summary>
    /// <param name="verified">P.</param>
    /// <param name="root">The last committed token.</param>
    /// <param name="committed">Tokens written so far.</param>
    /// <param name="drafterRows">Committed tokens in the drafter's own cache.</param>
    void Start(int verified, TokenId root, int committed, int drafterRows);

    /// <summary>Records <paramref name="cycle"/>; <see cref="Run"/> repeats it.</summary>
    /// <returns>The recording; dispose it with the plan.</returns>
    IDisposable Record(Action cycle);

    /// <summary>Runs a recording and waits for it.</summary>
    CycleOutcome Run(IDisposable recording);

    /// <summary>Seconds that the last cycle took by the device's clock.</summary>
    double LastSeconds { get; }

    /// <summary>Lets <paramref name="batch"/> stand for the rows of a pass, at most <paramref name="rows"/> of them, in <paramref name="cache"/>.</summary>
    void Fill(PassBatch batch, CycleRows kind, KvCache cache, int rows);

    /// <summary>output [1, C] = the last of the rows that <see cref="Fill"/> has counted.</summary>
    void CopyLast(Matrix rows, Matrix output);

    /// <summary>output[i] = input[i]</summary>
    void Copy(Matrix input, Matrix output);

    /// <summary>output[i] = the row of <paramref name="rows"/> [breadth, C] that belongs to the parent of frontier node i.</summary>
    void CopyParents(Matrix rows, Matrix output);

    /// <summary>output[i] = the row of <paramref name="rows"/> [nodes, C] that belongs to node i of the path just accepted, root first.</summary>
    void CopyPath(Matrix rows, Matrix output);

    /// <summary><see cref="TreeGrower.Start"/> with the root's logits [1, V].</summary>
    void StartTree(Matrix logits);

    /// <summary><see cref="TreeGrower.Grow"/> with the frontier's logits [breadth, V].</summary>
    void GrowTree(Matrix logits);

    /// <summary><see cref="TreeGrower.Select"/>.</summary>
    void SelectTree();

    /// <summary>A tree of the root alone.</summary>
    void RootTree();

    /// <summary>Chooses the target's token after each node and walks the tree while it is a child: logits [nodes, V].</summary>
    /// <param name="logits">The target's, of every node.</param>
    /// <param name="most">Most drafted tokens to accept: fewer than a tree's depth only where a measurement asks for a certain acceptance length.</param>
    void Accept(Matrix logits, int most);

    /// <summary><see cref="IBackend.KeepRows"/> of the accepted path.</summary>
    void KeepPath(KvCache cache);

    /// <summary><see cref="IBackend.GatherLayers"/> of the tokens just verified.</summary>
    void GatherObserved(KvCache cache, Matrix output);
}

/// <summary>What the host learns of a cycle. Spans are valid until the next one.</summary>
internal readonly ref struct CycleOutcome
{
    /// <summary>P after it.</summary>
    public required int Verified { get; init; }

    /// <summary>Drafted tokens accepted.</summary>
    public required int Accepted { get; init; }

    /// <summary>Nodes of the tree, root included.</summary>
    public required int TreeNodes { get; init; }

    /// <summary>Whether a visited node's logits were not finite; then nothing was committed.</summary>
    public required bool Failed { get; init; }

    /// <summary>Whether the drafter's logits were not finite; then the tree was the root alone.</summary>
    public required bool DrafterFailed { get; init; }

    /// <summary>Tokens committed: the accepted ones and the target's own.</summary>
    public required ReadOnlySpan<int> Tokens { get; init; }

    /// <summary>Nodes of the accepted path, root first.</summary>
    public required ReadOnlySpan<int> Path { get; init; }
}
