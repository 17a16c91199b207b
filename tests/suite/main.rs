mod lapack;
