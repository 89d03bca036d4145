// The emulated matrix instructions against the layouts of NVIDIA's PTX manual (mma.m16n8k16, ldmatrix), written down here once more, and against lines that a
// real GPU printed (tools/fragments.cu), where tests/vectors/fragments.txt holds some.
#include "../../emulated/registry.h"
#include "../harness.h"
#include "fragments.h"

#include <cstring>
#include <fstream>
#include <sstream>

extern "C" void llspec_fragments(FragmentsArgument p);

namespace
{
std::vector<unsigned> run()
{
    if (!Device::is_emulated())
    {
        throw Skip("the emulated device is what is checked");
    }

    static const llspec_emulated::Kernel kernel{"llspec_fragments", [](const void* p) { llspec_fragments(*static_cast<const FragmentsArgument*>(p)); }, sizeof(FragmentsArgument)};
    static bool added = false;
    if (!added)
    {
        llspec_emulated::add_kernel(&kernel);
        added = true;
    }

    Buffer<unsigned> output(384);
    FragmentsArgument p{output.data()};
    launch("llspec_fragments", p, {1}, 32, 512);
    return output.read();
}

double number(int i) { return i * 7 % 23 - 11; }
}

TEST("fragments.product_as_in_the_manual")
{
    double a[16][16], b[16][8];
    for (int lane = 0; lane < 32; lane++)
    {
        int group = lane >> 2, in_group = lane % 4;
        for (int i = 0; i < 8; i++)
        {
            int row = (i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8, column = in_group * 2 + (i & 1) + (i >= 4 ? 8 : 0);
            a[row][column] = number(8 * lane + i);
        }

        for (int i = 0; i < 4; i++)
        {
            b[in_group * 2 + (i & 1) + (i >= 2 ? 8 : 0)][group] = number(4 * lane + 1000 + i);
        }
    }

    std::vector<unsigned> found = run();
    for (int lane = 0; lane < 32; lane++)
    {
        for (int i = 0; i < 4; i++)
        {
            int row = (lane >> 2) + (i >= 2 ? 8 : 0), column = lane % 4 * 2 + (i & 1);
            double expected = i + 1;
            for (int k = 0; k < 16; k++)
            {
                expected += a[row][k] * b[k][column];
            }

            float actual;
            std::memcpy(&actual, &found[lane * 4 + i], sizeof actual);
            expect(actual == expected, "lane " + std::to_string(lane) + ", register " + std::to_string(i));
        }
    }
}

TEST("fragments.loads_as_in_the_manual")
{
    std::vector<unsigned> found = run();
    for (int lane = 0; lane < 32; lane++)
    {
        for (int matrix = 0; matrix < 4; matrix++)
        {
            // Element (row, column) of matrix m is 64 m + 8 row + column.
            unsigned row = static_cast<unsigned>(lane / 4), column = static_cast<unsigned>(lane % 4 * 2), first = static_cast<unsigned>(matrix) * 64;
            expect(found[128 + lane * 4 + matrix] == ((first + row * 8 + column) | (first + row * 8 + column + 1) << 16), "ldmatrix, lane " + std::to_string(lane));
            expect(found[256 + lane * 4 + matrix] == ((first + column * 8 + row) | (first + (column + 1) * 8 + row) << 16), "ldmatrix.trans, lane " + std::to_string(lane));
        }
    }
}

TEST("fragments.as_on_a_gpu")
{
    std::ifstream file(std::string(LLSPEC_TEST_FOLDER) + "/vectors/fragments.txt");
    if (!file)
    {
        throw Skip("no vectors of a real GPU are stored (tests/vectors/fragments.txt, printed by tools/fragments.cu)");
    }

    std::vector<unsigned> found = run();
    std::string line;
    int lines = 0;
    for (; std::getline(file, line); lines++)
    {
        std::istringstream words(line);
        std::string name;
        int lane = -1;
        words >> name >> lane;
        int first = name == "mma" ? 0 : name == "ldmatrix" ? 128 : name == "ldmatrix.trans" ? 256 : -1;
        expect(first >= 0 && lane >= 0 && lane < 32, "a line reads '" + line + "'");
        for (int i = 0; i < 4; i++)
        {
            unsigned expected = 0;
            expect(static_cast<bool>(words >> std::hex >> expected) && found[first + lane * 4 + i] == expected, name + ", lane " + std::to_string(lane) + ", register " + std::to_string(i));
        }
    }

    expect(lines == 96, "the file has " + std::to_string(lines) + " lines, expected 96");
}
