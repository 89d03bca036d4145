namespace LowLevelSpec.Engine.Drafting.Adaptive;

/// <summary>Decides, level by level, whether a drafter's network goes on.</summary>
internal interface ILevelPolicy
{
    /// <summary>Called when the nodes of depth <paramref name="level"/> have been scored, with the best of them as the grower's frontier.</summary>
    /// <returns>How many of the frontier's nodes, best first, are to have their children scored; 0 ends the growth.</returns>
    int Widen(int level, TreeGrower grower);
}
