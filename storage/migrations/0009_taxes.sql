-- Tax rules with dates, substantially identical instruments, and transactions.

SELECT 1;
