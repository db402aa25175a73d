"""Fused forward and backward of the probability statistics; the reference they are held against is in ``counts``.

=============  =====================================  =================================================================
kernel         where                                  how
=============  =====================================  =================================================================
``reference``  everywhere                             autograd; float64 sums; what the others are tested against
``eager``      CPU                                    tiles of pixels that stay in the cache, analytic backward
``compiled``   CPU with a C++ compiler                ``torch.compile``: one pass forward, one pass backward
``triton``     NVIDIA GPU                             the same two passes, written in Triton
=============  =====================================  =================================================================

:mod:`neuroiou_study.core.kernels.choice` says which one is taken. All share the mathematics of
:mod:`neuroiou_study.core.kernels.fused`: no softmax of every class and pixel is ever stored.
"""
