"""What is durable: transactions, certificates, challenges, audit."""
