using LowLevelSpec.Engine.Decoding;
using LowLevelSpec.Engine.Drafting;
using LowLevelSpec.Engine.Tests.Backends.Cuda;
using LowLevelSpec.Interop.Cuda;
using Xunit;

namespace LowLevelSpec.Engine.Tests.Decoding;

/// <summary>Opening, generating and disposing keeps nothing, in whatever order things are disposed.</summary>
[Collection(nameof(CudaFactory))]
public sealed class CudaLeakTests
{
    private const int Rounds = 1000;

    [Fact]
    public void A_thousand_rounds_keep_no_memory()
    {
        CudaFactory.Require();
        Assert.SkipUnless(CudaFactory.Device == "emulated", "only the emulated device counts");
        NativeCudaDriver driver = CudaDriver.Open(emulated: true);
        string folder = Path.Combine(TinyModels.Instance.Folder, "enumerable");
        Round(folder, 0);
        long[] before = Alive(driver);
        long native = Resident();
        for (int round = 1; round <= Rounds; round++)
        {
            Round(folder, round);
            if (round % 100 == 0)
            {
                Assert.Equal(before, Alive(driver));
            }
        }

        Assert.Equal(before, Alive(driver));

        // A round allocates some 100 KB outside the managed heap: keeping a tenth of that would show as 10 MB. The heap itself may grow meanwhile.
        long grown = Resident() - native;
        Assert.True(grown < 64 << 20, $"the process grew by {grown >> 20} MB");
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
        return [c.DeviceAllocations, c.DeviceBytes, c.HostAllocations, c.HostBytes, c.Streams, c.Events, c.Graphs, c.GraphExecs, c.Modules, c.Contexts];
    }

    private static long Resident()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        using System.Diagnostics.Process process = System.Diagnostics.Process.GetCurrentProcess();
        return process.WorkingSet64;
    }
}
