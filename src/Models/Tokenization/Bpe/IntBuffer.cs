namespace LowLevelSpec.Models;

/// <summary>A growing array of ids, without the version checks of a list.</summary>
internal sealed class IntBuffer
{
    private int[] _items = new int[64];

    /// <summary>Number of ids.</summary>
    public int Count { get; private set; }

    /// <summary>Appends an id.</summary>
    public void Add(int item)
    {
        if (Count == _items.Length)
        {
            Array.Resize(ref _items, _items.Length * 2);
        }

        _items[Count++] = item;
    }

    /// <summary>Appends ids.</summary>
    public void Add(ReadOnlySpan<int> items)
    {
        if (_items.Length - Count < items.Length)
        {
            Array.Resize(ref _items, Math.Max(_items.Length * 2, Count + items.Length));
        }

        items.CopyTo(_items.AsSpan(Count));
        Count += items.Length;
    }

    /// <summary>The ids so far.</summary>
    public int[] ToArray() => _items.AsSpan(0, Count).ToArray();
}
