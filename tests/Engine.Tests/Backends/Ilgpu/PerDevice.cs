namespace LowLevelSpec.Engine.Tests.Backends.Ilgpu;

public sealed class IlgpuMatMulTests : MatMulTests<IlgpuSingle>;

public sealed class IlgpuElementTests : ElementTests<IlgpuSingle>;

public sealed class IlgpuSelectionTests : SelectionTests<IlgpuSingle>;

public sealed class IlgpuAttentionTests : AttentionTests<IlgpuSingle>;

public sealed class IlgpuCacheTests : CacheTests<IlgpuSingle>;

public sealed class IlgpuInvarianceTests : InvarianceTests<IlgpuSingle>;
