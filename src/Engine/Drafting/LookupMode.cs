namespace LowLevelSpec.Engine.Drafting;

/// <summary>How prompt lookup joins a tree that adapts; see <see cref="TreeSettings.Auto"/>.</summary>
public enum LookupMode
{
    /// <summary>Its continuation is merged into the drafter's tree where its measured hit rate pays.</summary>
    Auto,

    /// <summary>It is merged where the length of the match alone promises enough, whatever was measured.</summary>
    On,

    /// <summary>Never.</summary>
    Off,
}
