{
  # node-gyp's own flags speak C++17; the core is C++20 and needs neither exceptions nor run-time type information.
  "targets": [
    {
      "target_name": "sealog",
      "sources": [
        "native/binding/addon.cc",
        "native/binding/arguments.cc",
        "native/binding/cache_functions.cc",
        "native/binding/commit_functions.cc",
        "native/binding/environment.cc",
        "native/binding/file_functions.cc",
        "native/binding/index_functions.cc",
        "native/binding/socket_functions.cc",
        "native/binding/testing_functions.cc",
        "<!@(node -p \"require('fs').readFileSync('native/sources.txt', 'utf8').trim().split(/\\s+/).map((file) => 'native/' + file).join(' ')\")"
      ],
      "defines": [
        "NAPI_VERSION=9",
        "NAPI_DISABLE_CPP_EXCEPTIONS",
        "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS",
        "NODE_API_NO_EXTERNAL_BUFFERS_ALLOWED"
      ],
      "cflags": ["-fvisibility=hidden", "-Wall", "-Wextra"],
      "cflags!": ["-O2"],
      "cflags_cc": ["-std=c++20", "-O3"],
      "cflags_cc!": ["-std=gnu++17", "-std=gnu++14", "-std=gnu++20"],
      "conditions": [
        ["OS=='linux'", { "ldflags": ["-Wl,-z,nodelete", "-Wl,-z,relro,-z,now"] }],
        ["OS=='mac'", {
          "xcode_settings": {
            "CLANG_CXX_LANGUAGE_STANDARD": "c++20",
            "GCC_OPTIMIZATION_LEVEL": "3",
            "GCC_SYMBOLS_PRIVATE_EXTERN": "YES",
            "MACOSX_DEPLOYMENT_TARGET": "11.0"
          }
        }]
      ]
    }
  ]
}
