#include "harness.h"

TEST("abi.sizes")
{
    std::vector<int> expected;
#define SIZE(name) expected.push_back(static_cast<int>(sizeof(name)));
    LLSPEC_STRUCTS(SIZE)
#undef SIZE
    Buffer<int> sizes(expected.size());
    LlspecAbi p{sizes.data(), static_cast<int>(expected.size())};
    launch("llspec_abi", p, {1}, 32);
    expect_equal("sizes", sizes.read(), expected);
    expect(expected[0] == 48, "a row is 48 bytes");
}
