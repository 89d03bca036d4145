namespace LowLevelSpec.Engine.Tests.Backends;

public sealed class CpuScalarMatMulTests : MatMulTests<CpuScalar>;

public sealed class Cpu128MatMulTests : MatMulTests<Cpu128>;

public sealed class Cpu256MatMulTests : MatMulTests<Cpu256>;

public sealed class Cpu512MatMulTests : MatMulTests<Cpu512>;

public sealed class CpuScalarElementTests : ElementTests<CpuScalar>;

public sealed class Cpu128ElementTests : ElementTests<Cpu128>;

public sealed class Cpu256ElementTests : ElementTests<Cpu256>;

public sealed class Cpu512ElementTests : ElementTests<Cpu512>;

public sealed class CpuScalarSelectionTests : SelectionTests<CpuScalar>;

public sealed class Cpu128SelectionTests : SelectionTests<Cpu128>;

public sealed class Cpu256SelectionTests : SelectionTests<Cpu256>;

public sealed class Cpu512SelectionTests : SelectionTests<Cpu512>;

public sealed class CpuScalarAttentionTests : AttentionTests<CpuScalar>;

public sealed class Cpu128AttentionTests : AttentionTests<Cpu128>;

public sealed class Cpu256AttentionTests : AttentionTests<Cpu256>;

public sealed class Cpu512AttentionTests : AttentionTests<Cpu512>;

public sealed class CpuScalarCacheTests : CacheTests<CpuScalar>;

public sealed class Cpu128CacheTests : CacheTests<Cpu128>;

public sealed class Cpu256CacheTests : CacheTests<Cpu256>;

public sealed class Cpu512CacheTests : CacheTests<Cpu512>;

public sealed class CpuScalarInvarianceTests : InvarianceTests<CpuScalar>;

public sealed class Cpu128InvarianceTests : InvarianceTests<Cpu128>;

public sealed class Cpu256InvarianceTests : InvarianceTests<Cpu256>;

public sealed class Cpu512InvarianceTests : InvarianceTests<Cpu512>;

public sealed class Cpu128WidthTests : WidthTests<Cpu128>;

public sealed class Cpu256WidthTests : WidthTests<Cpu256>;

public sealed class Cpu512WidthTests : WidthTests<Cpu512>;

public sealed class CpuScalarKvTypeTests : KvTypeTests<CpuScalar>;

public sealed class Cpu128KvTypeTests : KvTypeTests<Cpu128>;

public sealed class Cpu256KvTypeTests : KvTypeTests<Cpu256>;

public sealed class Cpu512KvTypeTests : KvTypeTests<Cpu512>;
