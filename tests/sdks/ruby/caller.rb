# Calls GetCallerIdentity again and again with one client of the AWS SDK for Ruby.

require 'aws-sdk-core'

$stdout.sync = true
puts "version #{Aws::CORE_GEM_VERSION}"
# The SDK in Debian is older than the variable for the endpoint.
client = Aws::STS::Client.new(endpoint: ENV.fetch('AWS_ENDPOINT_URL_STS'), retry_limit: 0)
loop do
  begin
    client.get_caller_identity
    puts 'ok'
  rescue Aws::Errors::ServiceError => e
    puts "refused #{e.code}"
  rescue StandardError => e
    puts "failed #{e.message.split.join(' ')}"
  end
  sleep Float(ENV.fetch('PAUSE'))
end
