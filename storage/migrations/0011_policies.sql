-- Policies with their versions.

SELECT 1;
