#pragma once

struct FragmentsArgument
{
    unsigned* output; // [3, 32, 4]: product, ldmatrix, ldmatrix transposed; 512 bytes of dynamic shared memory, one warp
};
