// A KV cache for tests: random bf16 values in every row, and the rows of a pass over it.
#pragma once

#include "harness.h"

class TestCache
{
public:
    TestCache(Random& random, int layers, int kv_heads, int head_size, int capacity)
        : layers(layers), kv_heads(kv_heads), head_size(head_size), capacity(capacity), row_size((head_size + 7) / 8 * 8),
          keys(to_bf16(random.values(static_cast<std::size_t>(layers) * kv_heads * capacity * row_size))),
          values(to_bf16(random.values(static_cast<std::size_t>(layers) * kv_heads * capacity * row_size)))
    {
        // What lies beyond a head's elements must never be read.
        for (std::size_t i = 0; i < keys.size(); i++)
        {
            if (static_cast<int>(i % static_cast<std::size_t>(row_size)) >= head_size)
            {
                keys[i] = values[i] = 0xFFFF;
            }
        }
    }

    std::size_t at(int layer, int head, int row, int d) const
    {
        return ((static_cast<std::size_t>(layer) * kv_heads + head) * capacity + row) * static_cast<std::size_t>(row_size) + d;
    }

    int layers, kv_heads, head_size, capacity, row_size;
    std::vector<unsigned short> keys, values;
};

inline LlspecRow make_row(const Buffer<unsigned short>& keys, const Buffer<unsigned short>& values, int capacity, int position, int cache_row, int prefix)
{
    LlspecRow row{};
    row.keys = keys.data();
    row.values = values.data();
    row.capacity = capacity;
    row.position = position;
    row.cache_row = cache_row;
    row.prefix = prefix;
    return row;
}
