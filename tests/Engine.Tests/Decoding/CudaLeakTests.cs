using System.Diagnostics;
using System.Runtime.InteropServices;
using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Tests.Backends.Cuda;
using LowLevelSpec.Interop.Cuda;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>Opening, generating and disposing keeps nothing, in whatever order things are disposed. Alone: what it measures belongs to the whole process.</summary>
[Collection(nameof(NoParallelMemory))]
public sealed partial class CudaLeakTests
{
    private const int Rounds = 1000;

    // What native code holds after the second half differs from what it held before by a quarter of this. A leak of 4 KB in each round, a twentieth of what a round allocates, is past it.
    private const long MostGrowth = 1 << 20;

    [Fact]
    public void A_thousand_rounds_keep_no_memory()
    {
        CudaFactory.Require();
        Assert.SkipUnless(CudaFactory.Device == "emulated", "only the emulated device counts");
        NativeCudaDriver driver = CudaDriver.Open(emulated: true);
        string folder = Path.Combine(TinyModels.Instance.Folder, "enumerable");
        Collect();
        Round(folder, 0);
        long[] before = Alive(driver);
        long half = 0;
        for (int round = 1; round <= Rounds; round++)
        {
            Round(folder, round);
            if (round % 100 == 0)
            {
                Assert.Equal(before, Alive(driver));
            }

            // The first half warms up what grows once: pools, code that is compiled again, the allocator's own lists.
            if (round == Rounds / 2)
            {
                half = OutsideTheHeap();
            }
        }

        long grown = OutsideTheHeap() - half;
        Assert.True(grown < MostGrowth, $"{Rounds / 2} rounds kept {grown} bytes outside the managed heap, expected less than {MostGrowth}");
    }

    private static void Round(string folder, int round)
    {
        LanguageModel model = LanguageModel.Open(Path.Combine(folder, "target"), new EngineOptions { Device = "emulated" });
        Drafter drafter = model.OpenDrafter(Path.Combine(folder, "moa"));
        Generation generation = model.Begin(new GenerationRequest { PromptIds = [1, 2], MaxNewTokens = 2, IgnoreEndTokens = true, Drafter = drafter, Tree = new TreeSettings(2, 1, 1) });

        // Most rounds only open, prefill and dispose; every twentieth also records and runs a cycle.
        generation.Prefill(CancellationToken.None);
        if (round % 20 == 0)
        {
            generation.Step();
        }

        IDisposable[] all = [model, drafter, generation];
        for (int i = 0; i < all.Length; i++)
        {
            all[(i + round) % all.Length].Dispose();
        }
    }

    private static long[] Alive(NativeCudaDriver driver)
    {
        EmulatedCounts c = driver.Counts();
        return [c.DeviceAllocations, c.DeviceBytes, c.HostAllocations, c.HostBytes, c.Streams, c.Events, c.Graphs, c.GraphExecs, c.Modules, c.Contexts, c.CublasHandles];
    }

    /// <summary>Bytes that native code holds: what glibc has handed out and not got back, else the process' private memory without what the collector committed.</summary>
    internal static long OutsideTheHeap()
    {
        Collect();
        try
        {
            MallocInfo info = MallInfo2();
            return (long)(info.InUse + info.Mapped);
        }
        catch (Exception failure) when (failure is DllNotFoundException or EntryPointNotFoundException)
        {
            using Process process = Process.GetCurrentProcess();
            return process.PrivateMemorySize64 - GC.GetGCMemoryInfo().TotalCommittedBytes;
        }
    }

    private static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
    }

    // glibc from 2.33 on: the sums over all arenas.
    [LibraryImport("libc.so.6", EntryPoint = "mallinfo2")]
    private static partial MallocInfo MallInfo2();

    /// <summary>struct mallinfo2: ten times size_t.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private readonly struct MallocInfo
    {
        public readonly nuint Arena;
        public readonly nuint FreeChunks;
        public readonly nuint FreeFastChunks;
        public readonly nuint MappedRegions;
        public readonly nuint Mapped;
        public readonly nuint Unused;
        public readonly nuint FreeFastBytes;
        public readonly nuint InUse;
        public readonly nuint Free;
        public readonly nuint Trimmable;
    }
}

/// <summary>The tests of this collection run while no other test does.</summary>
[CollectionDefinition(nameof(NoParallelMemory), DisableParallelization = true)]
public sealed class NoParallelMemory;
