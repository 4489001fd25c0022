"""Instructions of the hot loops, counted by valgrind: what became dearer shows whatever else the machine does.

    python -m benchmarks.instructions            compare with bounds.csv, and end with 1 where a bound is exceeded
    python -m benchmarks.instructions --renew    write bounds.csv anew

A count depends on the libraries' versions and on the processor. What is compared is therefore a ratio of two counts of
one run: of a loop and the same loop with more to do (a ring of 60 s and one of 2 s), or of a loop and what no way to do
its work can leave out (a filter bank and its Fourier transforms). Valgrind, whose processor has no AVX-512, has the
libraries choose the same code on every x86-64 machine with AVX2.
"""
