using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace LowLevelSpec.Training.Compute;

/// <summary>A thread's working memory, aligned to cache lines; grows and stays. Valid until the thread's next <see cref="Rent"/>.</summary>
internal static unsafe class ThreadMemory<T> where T : unmanaged
{
    [ThreadStatic]
    private static T[]? t_memory;

    /// <summary>Memory for <paramref name="elements"/> elements, with arbitrary content.</summary>
    public static T* Rent(long elements)
    {
        elements += 64 / sizeof(T);
        if (t_memory is null || t_memory.LongLength < elements)
        {
            t_memory = GC.AllocateUninitializedArray<T>(checked((int)elements), pinned: true);
        }

        nint address = (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(t_memory));
        return (T*)((address + 63) & ~(nint)63);
    }

    /// <summary>Cuts the first <paramref name="count"/> elements off <paramref name="next"/>.</summary>
    public static T* Take(ref T* next, long count)
    {
        T* taken = next;
        next += count;
        return taken;
    }
}
